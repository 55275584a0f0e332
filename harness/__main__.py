"""`python -m draftmark` runs the command line."""

import runpy

runpy.run_module("draftmark.cli.main", run_name="__main__")
