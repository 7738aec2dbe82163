"""The continuous archive: every WAL segment from the server to the repository, and back for recovery."""
