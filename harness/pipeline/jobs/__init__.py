"""The executor of several processes on this machine: its pool, its workers and what they show."""
