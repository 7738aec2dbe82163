"""Check everything that a backup and a restore will need, before they need it; each finding says how to repair it."""
