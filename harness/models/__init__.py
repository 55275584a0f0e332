"""Everything that holds weights: loading, generation, KV cache, hidden states, heads."""
