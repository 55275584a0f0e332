"""Feature heads: drafts that read the target's own states."""
