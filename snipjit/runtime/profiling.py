"""Profiling: what a launcher is called in torch.profiler, and the call that says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

from snipjit.torch_private import recorded

Call = Callable[..., Any]

_numbers: defaultdict[str, count[int]] = defaultdict(count)
"""How many launchers of each kind there are."""


def name_for(label: str) -> str:
    """What profilers call a new launcher: ``snipjit::linear[3] 768→3072 gelu``."""
    kind, *words = label.split(" ")
    return " ".join((f"snipjit::{kind}[{next(_numbers[kind])}]", *words))


def profiled(name: str, tensors: int, make: Callable[[], Call]) -> Call:
    """A call under a name, with the shapes of so many arguments; made when a profiler first runs.

    What is made does not look whether one does.
    """
    unwatched = cache(make)

    def call(*args: Any) -> Any:
        with recorded(name, args[:tensors]):
            return unwatched()(*args)

    return call
