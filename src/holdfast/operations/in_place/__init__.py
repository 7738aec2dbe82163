"""Restoring a service where it runs, taking that back, and dropping what was there before."""
