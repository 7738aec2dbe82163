"""Recovery of a restored cluster to a target: planned, located in the WAL, and carried out."""
