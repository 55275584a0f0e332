"""One file = one published method. The folder is the registry: `METHOD` is the class."""
