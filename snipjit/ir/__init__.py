"""Both IRs: the Subgraph and the LinearIR, and what their words mean."""
