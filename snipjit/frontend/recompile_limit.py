"""Says once what to do when Dynamo makes no more graphs of a function that snipjit has compiled."""

from __future__ import annotations

import warnings
from functools import cache
from inspect import signature

import torch

from snipjit.frontend.statistics import record_given_up
from snipjit.torch_private import frame_under_compilation, on_recompile_limit

_BY_ARGUMENT = (
    "torch.compile(..., recompile_limit=64); torch._dynamo.config.recompile_limit counts in the "
    "thread alone that sets it"
)
_BY_CONFIGURATION = "torch._dynamo.config.recompile_limit = 64, in each thread that calls it"
_TAKES_ARGUMENT = "recompile_limit" in signature(torch.compile).parameters  # not before 2.12
_HOW = _BY_ARGUMENT if _TAKES_ARGUMENT else _BY_CONFIGURATION

_ours: set[int] = set()
"""Functions of which a graph came here and that have not met the limit."""


def watch() -> None:
    """Remember that a graph of the function under compilation came here."""
    frame = frame_under_compilation()
    if frame is not None:
        _watch_limit()
        _ours.add(frame)


@cache
def _watch_limit() -> None:
    on_recompile_limit(_notice)


def _notice() -> None:
    frame = frame_under_compilation()
    if frame in _ours:
        _ours.discard(frame)
        record_given_up()
        warnings.warn(
            "Dynamo makes no more graphs of a function that snipjit has compiled: inputs of "
            f"further kinds run in eager PyTorch. Allow more by {_HOW}",
            stacklevel=2,
        )
