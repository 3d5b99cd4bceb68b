"""Masks as functions of indices: what is known of ranges and of what is made of them."""
