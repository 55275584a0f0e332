"""The Hugging Face hub: its client, the files of a commit, and the sentence of each failure."""
