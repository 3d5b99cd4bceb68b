"""Modules that reach a backend as one opaque node, written out."""
