"""`python -m draftmark` runs the command line."""

import runpy

runpy.run_module("draftmark.cli.start", run_name="__main__")
