"""One backup, end to end."""
