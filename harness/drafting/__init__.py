"""Language models as drafts: what they start as, how they propose, static trees of proposals."""
