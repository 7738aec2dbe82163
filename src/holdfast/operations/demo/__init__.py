"""The demo: a throw-away cluster under load is backed up, destroyed, restored, and compared with what was committed."""
