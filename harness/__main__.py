"""`python -m draftmark`."""

from draftmark.cli.main import main

main()
