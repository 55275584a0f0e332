"""The Python interface: `draftmark.score`, `draftmark.run`, `draftmark.load`."""
