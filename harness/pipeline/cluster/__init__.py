"""The executor of a Ray cluster: machines, workers and what each stage needs of them."""
