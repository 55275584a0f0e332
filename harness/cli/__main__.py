"""`python -m draftmark.cli`."""

from draftmark.cli.main import main

main()
