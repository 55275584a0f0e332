"""Published methods, one per file; a file's `METHOD` is a frozen dataclass of the knobs."""
