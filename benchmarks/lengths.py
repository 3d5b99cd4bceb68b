"""Lengths of texts as an embedding service sees them: many short ones, a long tail."""

from __future__ import annotations

import numpy as np

MEAN = 31


def text_lengths(
    count: int = 200, mean: int = MEAN, longest: int = 256, seed: int = 7
) -> list[int]:
    """Token counts of ``count`` texts: lognormal, rounded, with the given mean (within one)."""
    draws = np.random.default_rng(seed).lognormal(0.0, 0.6, count)
    lengths = np.clip(np.rint(draws * mean / draws.mean()), 3, longest)
    return [int(length) for length in lengths]
