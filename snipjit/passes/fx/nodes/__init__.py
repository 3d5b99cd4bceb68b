"""One node of a torch.fx graph: what tracing left on it, and which operation it is."""
