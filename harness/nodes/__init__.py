"""The stages as nodes of the graph, in files by job: what each depends on, and how it is made."""
