"""What is taken from a graph: one file a pattern."""
