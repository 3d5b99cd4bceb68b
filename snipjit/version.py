"""The version of snipjit: setup.py reads it, caches and op names carry it."""

__version__ = "0.1.0"
