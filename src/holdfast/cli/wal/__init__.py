"""``holdfast wal``: the commands around the continuous archive."""
