"""What `draftmark` does, command by command, in files by job; harness/cli.py lists them all.

Everything heavy is imported inside the command that needs it: `draftmark list` answers at once.
"""
