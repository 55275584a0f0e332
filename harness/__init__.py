"""draftmark: benchmarks drafts for speculative decoding."""
