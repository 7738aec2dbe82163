"""A PostgreSQL server in recovery, under our hands: its settings, its words, its state."""
