"""Records to numbers: statistics, quantities, cost model, fairness, literature, gate."""
