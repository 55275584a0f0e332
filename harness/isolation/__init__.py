"""What the sandbox is made of: bubblewrap's call, refused system calls, the program inside."""
