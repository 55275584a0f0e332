"""What comes from outside: rows and models, where they lie and whether they are sound."""
