"""Whole torch.fx graphs: reading their data flow, opening modules, putting kernels in."""
