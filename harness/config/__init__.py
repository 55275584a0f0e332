"""Recipe sections and their validation. Knows no method and imports no torch."""
