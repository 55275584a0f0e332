"""Records -> numbers: quantities, comparisons, and whether those are fair."""
