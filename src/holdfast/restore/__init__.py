"""From a snapshot to files in place: planned, proven possible, fetched, made durable, and only then made startable."""
