"""Regions of a graph to positional Subgraphs, whatever they compute."""
