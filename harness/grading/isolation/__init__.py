"""Isolation of model-written programs: bubblewrap, a jail process, a system call filter."""
