"""What is legal in both IRs, a file a set of rules."""
