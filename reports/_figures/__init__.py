"""The figures of a run, one file each; what they share is in style, run and drawing."""
