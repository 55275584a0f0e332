"""Reports: each file renders results, and its `REPORT` is the renderer that the registry finds."""
