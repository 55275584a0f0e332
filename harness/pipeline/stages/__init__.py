"""The stages: each function returns a node of the graph."""
