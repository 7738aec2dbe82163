"""Holdfast: runs and protects the data layer of a self-hosted product."""

__version__ = "0.1.0"
