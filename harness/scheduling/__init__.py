"""Where and when stages run: on a cluster, what they need there, and how a run is followed."""
