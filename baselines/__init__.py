"""Published methods: one file is one method; `METHOD` is a frozen dataclass of its knobs."""
