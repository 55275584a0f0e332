"""One file = one rendering of results. The folder is the registry: `REPORT` is the renderer."""
