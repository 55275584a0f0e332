"""The command `draftmark`: Ctrl-C is handled before the command line is imported."""


def main() -> None:
    """Import and run the command line."""
    from draftmark.pipeline.stopping import note_interrupts

    with note_interrupts():
        from draftmark.cli import main as command_line

        command_line.main()


if __name__ == "__main__":
    main()
