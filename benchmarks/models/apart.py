"""A contestant in a process of its own: one that cannot share ours, or whose memory is asked for.

The process makes the same model with the same weights, and runs a case when it is told to. It
measures what it takes itself, so that asking costs nothing.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any
from weakref import finalize

import torch
from torch import Tensor

from benchmarks.contestants import reason
from benchmarks.memory import forget_peak, peak, resident
from benchmarks.models.case import Forms, Inputs
from benchmarks.models.peers import DYNAMO, OURS, PEERS
from benchmarks.models.table import select
from benchmarks.peers.base import Absent
from benchmarks.precisions import PRECISIONS
from benchmarks.rounds import Elsewhere


@dataclass(frozen=True)
class Memory:
    """Bytes that a process has grown by since before it made the model.

    whole  at its peak: building, compiling and running
    calls  at the peak of calls that come after the first
    """

    whole: int
    calls: int


@dataclass(frozen=True)
class Order:
    """What a process is to make, by name: it imports the same tables."""

    cases: Sequence[str]
    contestant: str
    precision: str


class Apart:
    """A contestant elsewhere, called like the others with the inputs of a case."""

    def __init__(self, order: Order, sets: Sequence[Inputs] = ()) -> None:
        """Start it; ``sets`` are the inputs of its cases. Raises Absent where it cannot run."""
        self.sets, threads = sets, torch.get_num_threads()
        context = multiprocessing.get_context("spawn")
        self._own, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, order, threads), daemon=True)
        self._process.start()
        other.close()
        self._end = finalize(self, self._process.terminate)
        self._answer()

    def __call__(self, *tensors: Tensor) -> Any:
        """The result of a case, as this process would have it."""
        return torch.load(BytesIO(self._ask("result", self._case(tensors))))

    def bound(self, *tensors: Tensor) -> Elsewhere:
        """The call of a case."""
        case = self._case(tensors)
        return Elsewhere(partial(self, *tensors), partial(self._ask, "seconds", case))

    def memory(self) -> Memory:
        """What the process has taken, every case having been run again."""
        found: Memory = self._ask("memory")
        return found

    def close(self) -> None:
        """End the process."""
        self._end()
        self._process.join()

    def _case(self, tensors: Inputs) -> int:
        same = (all(a is b for a, b in zip(tensors, own, strict=True)) for own in self.sets)
        return list(same).index(True)

    def _ask(self, what: str, *arguments: int) -> Any:
        self._own.send((what, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            found = self._own.recv()
        except EOFError:
            raise Absent("its process has ended") from None
        if isinstance(found, Exception):
            raise found
        return found


def make(contestant: str, forms: Forms, sets: Sequence[Inputs]) -> Apart:
    """A contestant of the tables, by its name."""
    return Apart(Order(list(forms.family.cases), contestant, forms.precision.name), sets)


def memory_of(order: Order) -> Memory:
    """What a contestant takes that runs the cases of a model, in a process that then ends.

    Raises Absent where it cannot run.
    """
    own = Apart(order)
    try:
        return own.memory()
    finally:
        own.close()


def _serve(pipe: Connection, order: Order, threads: int) -> None:
    """Make the contestant, then answer until nobody asks any more."""
    torch.set_num_threads(threads)
    with torch.inference_mode(), torch._dynamo.config.patch(DYNAMO):
        try:
            worker = _Worker(order)
            pipe.send(None)
            while True:
                what, arguments = pipe.recv()
                pipe.send(getattr(worker, what)(*arguments))
        except EOFError:
            return
        except Exception as error:  # a foreign compiler may raise anything
            pipe.send(Absent(reason(error)))


class _Worker:
    """What the process holds."""

    def __init__(self, order: Order) -> None:
        (family,) = select(order.cases)
        makers = {**PEERS, **OURS}
        # Whom we compare with may not be torch alone: what he imports is no memory of the model.
        self.before = resident()
        forget_peak()
        forms = Forms(family, PRECISIONS[order.precision])
        self.sets = forms.inputs()
        self.call = makers[order.contestant](forms, self.sets)
        for inputs in self.sets:
            self.call(*inputs)

    def result(self, case: int) -> bytes:
        """What a call returns."""
        file = BytesIO()
        torch.save(self.call(*self.sets[case]), file)
        return file.getvalue()

    def seconds(self, case: int) -> float:
        """What a call takes."""
        start = perf_counter()
        self.call(*self.sets[case])
        return perf_counter() - start

    def memory(self) -> Memory:
        """See ``Memory``: of all cases."""
        first = peak()
        forget_peak()
        for inputs in self.sets:
            self.call(*inputs)
        calls = peak()
        return Memory(max(first, calls) - self.before, calls - self.before)
