"""`python -m draftmark`."""

import runpy

runpy.run_module("draftmark.cli", run_name="__main__", alter_sys=True)
