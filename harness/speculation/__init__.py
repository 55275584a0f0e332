"""Methods, drafters and engines as interfaces; acceptance tables and block statistics."""
