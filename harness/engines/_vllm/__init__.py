"""The vLLM engine's child process: its program, its options, how it is started."""
