"""Examining a repository: what is proven, what is not, what each damage hits, and what to do about it."""
