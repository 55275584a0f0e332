"""The command `draftmark`: Ctrl-C is handled before the command line is imported."""

import signal


def main() -> None:
    """Import and run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it is noted: no traceback
    from draftmark.pipeline.stopping import note_interrupts

    with note_interrupts():
        from draftmark.cli import main as command_line

        command_line.main()


if __name__ == "__main__":
    main()
