"""The meaning of both IRs in NumPy: the oracle of every pass."""
