"""Compares two programs: how far their results are apart, and how fast they are side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from statistics import median
from time import perf_counter
from typing import Any

import torch

from snipjit.cli.random_inputs import Inputs
from snipjit.torch_private import pytree

Call = Callable[..., Any]

_TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 5e-2}


class Fresh:
    """The inputs of each call, as they were given: a program that writes to its own gets copies.

    Whether one does the first call tells.
    """

    def __init__(self, given: Inputs) -> None:
        self.given = given
        self._is_written: bool | None = None

    def call(self, program: Call) -> Any:
        """What a program gives for them."""
        if self._is_written is False:
            args, kwargs = self.given
            return program(*args, **kwargs)
        args, kwargs = copies = pytree.tree_map(_copy, self.given)
        outputs = program(*args, **kwargs)
        if self._is_written is None:
            pairs = zip(tensors(self.given), tensors(copies), strict=True)
            self._is_written = not all(torch.equal(a, b) for a, b in pairs)
        return outputs


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def interleaved_medians(calls: Sequence[Call], repeat: int) -> list[float]:
    """Median seconds of each call, timed in turn so that all see the same machine."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeat):
        for call, times in zip(calls, seconds, strict=True):
            start = perf_counter()
            call()
            times.append(perf_counter() - start)
    return [median(times) for times in seconds]


def error_between(ours: Any, reference: Any) -> tuple[float, float]:
    """Largest absolute error over all tensors, and largest error relative to a tensor's range.

    Infinite where a tensor's shape, or the places of its NaNs and infinities, differ.
    """
    pairs = zip(tensors(ours), tensors(reference), strict=True)
    errors = [_tensor_error(a, b) for a, b in pairs]
    return max((e[0] for e in errors), default=0.0), max((e[1] for e in errors), default=0.0)


def usual_tolerance(outputs: Any) -> float:
    """The relative error that roundings of two programs make, by the least precise result."""
    return max((_TOLERANCES.get(leaf.dtype, 1e-3) for leaf in tensors(outputs)), default=1e-3)


def tensors(outputs: Any) -> list[torch.Tensor]:
    """Every tensor in nested tuples, lists and dicts, in their order."""
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _tensor_error(ours: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return inf, inf
    a, b = ours.double(), reference.double()
    finite = b.isfinite()
    if not torch.allclose(a[~finite], b[~finite], equal_nan=True):
        return inf, inf
    if not finite.any():
        return 0.0, 0.0
    error = float((a - b)[finite].abs().max().nan_to_num(inf, posinf=inf))
    scale = float(b[finite].abs().max())
    return error, error / scale if scale else error
