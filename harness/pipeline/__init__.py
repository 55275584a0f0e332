"""Recipe to stages to results: the experiment graph, executors, runs and their folders."""
