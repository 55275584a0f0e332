"""One file = one engine: something that generates text, with a draft or without."""
