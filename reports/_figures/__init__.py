"""The figures of a run, by kind of picture; style, drawing and run are shared."""
