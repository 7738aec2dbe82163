"""The use cases of the continuous archive: setting it up, shipping WAL, serving it to recovery."""
