"""Who runs in the attention benchmark: our launcher, our whole ``torch.compile``, and the peers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx

from benchmarks.peers.base import Absent, Inputs, own_code
from benchmarks.peers.table import PEERS
from benchmarks.read_speed import reader
from benchmarks.rows import Row
from benchmarks.sources import Form
from snipjit.compiler import compile_subgraph
from snipjit.passes.fx import tokenize
from snipjit.runtime.kernel_cache import launcher_of

Call = Callable[[], Any]

OURS, COMPILE, READ = "snipjit", "compile", "read"
"""The launcher called directly, the ``torch.compile`` call, and the bound of cold rows."""


@dataclass
class Contestants:
    """Those of one row, compiled and warm.

    calls   one for each set of inputs
    absent  why the others do not run
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, prepare: Callable[[], list[Call]]) -> None:
        """Prepare a contestant, or note why that fails: a foreign compiler may raise anything."""
        try:
            self.calls[name] = prepare()
        except Exception as error:
            self.absent[name] = reason(error)

    def in_turn(self) -> dict[str, Call]:
        """One call of each contestant, on the inputs that nobody has read for the longest time."""
        turns = itertools.count()
        return {name: _in_turn(calls, turns) for name, calls in self.calls.items()}


def reason(error: Exception) -> str:
    """Why a contestant does not run: what it says itself, or an error in one line."""
    if isinstance(error, Absent):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _in_turn(calls: list[Call], turns: Iterator[int]) -> Call:
    if len(calls) == 1:
        return calls[0]
    return lambda: calls[next(turns) % len(calls)]()


def prepare(
    row: Row,
    sets: Sequence[Inputs],
    peers: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> Contestants:
    """Ours and the peers of these names, each compiled once, on the same inputs."""
    torch._dynamo.reset()
    contestants = Contestants()
    makers: dict[str, Callable[[], list[Call]]] = {
        OURS: lambda: launcher_calls(row.model.form, sets),
        COMPILE: lambda: _calls(_compiled(row.model.form, sets[0]), sets),
    }
    for name in peers:
        makers[name] = partial(_peer_calls, name, row, sets)
    if row.cold:
        makers[READ] = lambda: [reader(*inputs[1:3]) for inputs in sets]
    for name, maker in makers.items():
        progress(f"preparing {name}")
        contestants.add(name, maker)
    return contestants


def _peer_calls(name: str, row: Row, sets: Sequence[Inputs]) -> list[Call]:
    return _calls(PEERS[name](row, sets[0]), sets)


def _calls(form: Form, sets: Sequence[Inputs]) -> list[Call]:
    return [partial(form, *inputs) for inputs in sets]


def _compiled(form: Form, inputs: Inputs) -> Form:
    """The source compiled by us, after its first call."""
    compiled: Form = torch.compile(own_code(form), backend="snipjit", dynamic=True)
    compiled(*inputs)
    return compiled


def launcher_calls(form: Form, sets: Sequence[Inputs]) -> list[Call]:
    """Calls of the launcher that ``torch.compile`` leaves in the graph of a form.

    The arguments are those that the launcher gets there: no guard and no other node runs. Raises
    Absent where the graph is not one fused attention.
    """
    calls: list[Call] = []

    def backend(graph: fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        found = cache(partial(_launcher, graph))

        def run(*args: Any) -> Any:
            launcher, nodes = found()  # here, where Dynamo does not wrap what it raises
            interpreter = fx.Interpreter(graph, garbage_collect_values=False)
            result = interpreter.run(*args)
            values = interpreter.env
            given = (values[node] if isinstance(node, fx.Node) else node for node in nodes)
            calls.append(partial(launcher, *given))
            return result

        return run

    traced: Form = torch.compile(own_code(form), backend=backend, dynamic=True)
    for inputs in sets:
        traced(*inputs)
    return calls


def _launcher(graph: fx.GraphModule) -> tuple[Callable[..., Any], list[Any]]:
    """The launcher of a graph's one attention, and the nodes or numbers it is called with."""
    found = tokenize(graph)
    if len(found.candidates) != 1:
        reasons = "; ".join(refusal.reason for refusal in found.refusals)
        raise Absent(f"{len(found.candidates)} kernels instead of one. {reasons}")
    (candidate,) = found.candidates
    launcher = launcher_of(compile_subgraph(candidate.subgraph)).call
    return launcher, [*candidate.tensors, *candidate.scalars]
