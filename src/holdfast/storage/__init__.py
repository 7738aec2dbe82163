"""Named bytes and nothing else: one Protocol, its drivers, and wrappers of the same Protocol."""
