"""Results on disk: records, the folders of runs, and how they are read back."""
