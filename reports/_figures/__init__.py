"""The figures of a run, one file per kind of picture; `style`, `drawing` and `run` are shared."""
