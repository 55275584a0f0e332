"""Plans: estimated FLOPs, memory, disk and hours of each stage."""
