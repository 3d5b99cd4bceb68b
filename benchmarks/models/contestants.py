"""The contestants of a model: made, checked against eager on every case, and only then timed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from benchmarks.contestants import reason
from benchmarks.memory import resident
from benchmarks.models.apart import Apart
from benchmarks.models.case import Forms, Inputs
from benchmarks.models.peers import Call, Make
from benchmarks.precisions import F32
from snipjit.cli.compare import error_between, usual_tolerance

Tell = Callable[[str], None]

FACTOR = 2.0
"""In 16 bits eager's results differ from those in f32: others' may by so many times as much."""


@dataclass(frozen=True)
class Start:
    """What a contestant takes before it runs: seconds to its first result, bytes more of memory.

    Memory that is freed and kept for later is counted too, so that later ones may seem to take
    less than they do.
    """

    seconds: float
    memory: int


@dataclass
class Contestants:
    """Those of one model.

    calls   by name, those that could be made
    absent  why the others could not
    """

    calls: dict[str, Call] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    starts: dict[str, Start] = field(default_factory=dict)

    def add(self, name: str, make: Callable[[], Call], inputs: Inputs) -> None:
        """Make a contestant and call it once, or note why that fails."""
        gc.collect()
        before, start = resident(), perf_counter()
        try:
            call = make()
            call(*inputs)
        except Exception as error:  # a foreign compiler may raise anything
            self.absent[name] = reason(error)
        else:
            self.calls[name] = call
            self.starts[name] = Start(perf_counter() - start, max(0, resident() - before))


@dataclass(frozen=True)
class Checked:
    """The contestants of a case that compute what eager does.

    errors  largest difference from eager in f32, as a part of the range of its results
    absent  why the others are not timed
    """

    calls: dict[str, Callable[[], Any]]
    errors: dict[str, float]
    absent: dict[str, str]


def prepare(
    forms: Forms, sets: Sequence[Inputs], makers: Mapping[str, Make], tell: Tell = lambda _: None
) -> Contestants:
    """All that can be made, in the order of their names."""
    torch._dynamo.reset()
    found = Contestants()
    for name, make in makers.items():
        tell(f"preparing {name}")
        found.add(name, partial(make, forms, sets), sets[0])
    return found


def check(
    contestants: Contestants, forms: Forms, inputs: Inputs, tell: Tell = lambda _: None
) -> Checked:
    """Call each on the inputs of a case; those that are wrong or fail are absent."""
    wanted = forms.exact(*inputs)
    checked = Checked({}, {}, dict(contestants.absent))
    limit = usual_tolerance(wanted)
    if forms.precision is not F32:
        limit = FACTOR * _error(forms.eager(*inputs), wanted)
    for name, call in contestants.calls.items():
        tell(f"checking {name}")
        try:
            error = _error(call(*inputs), wanted)
        except Exception as fault:  # as above
            checked.absent[name] = reason(fault)
            continue
        checked.errors[name] = error
        if error <= limit:
            checked.calls[name] = _bound(call, inputs)
        else:
            checked.absent[name] = f"differs from eager by {error:.2g} of the range of its results"
    return checked


def _bound(call: Call, inputs: Inputs) -> Callable[[], Any]:
    return call.bound(*inputs) if isinstance(call, Apart) else partial(call, *inputs)


def _error(results: Any, wanted: Any) -> float:
    """The largest difference as a part of the range of what is wanted, in f32."""
    return error_between(tree_map_only(Tensor, Tensor.float, results), wanted)[1]
