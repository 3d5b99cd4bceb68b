"""Which launches may follow one another with nothing of PyTorch's between them.

Between two nodes that may have an effect (a *segment*) the order of nodes is free but for data. A
node's *level* counts how often, on the way to it, a result of launches goes through an operation of
PyTorch's: all launches of a level can stand together, after the operations of their level ::

    level 0   %a = launch(%x)      %b = launch(%y)
    level 1   %s = add(%a, 1)      %t = add(%b, 1)
              %c = launch(%x, %s)  %d = launch(%c.view(…), %t)

A cat of results that can be written in place (``cats.py``) is no operation of PyTorch's if all its
launches have its level.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum

import torch
from torch import fx

from snipjit.passes.fx.graph.cats import Results, is_row_major, launch_of, results_in
from snipjit.passes.fx.graph.earlier_views import VIEWS as VIEWS_IN_PLACE
from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.traced import storage, traced_value

VIEWS = frozenset(
    "transpose transpose_last numpy_T permute movedim view unsqueeze expand getitem slice select "
    "cast dropout".split()
)
"""Ops whose result may be a view; for those that may copy, tracing and the run time say whether."""

OTHER_VIEWS = frozenset("chunk split split_with_sizes tensor_split unbind narrow detach".split())
"""The same by name: the op table has no row for them, since no kernel takes them in."""

OTHER_PURE = frozenset(
    "item size dim numel stride shape gather sym_size sym_numel sym_stride "
    "sin cos floor ceil _to_copy _log_api_usage_once".split()
)
"""Ops without effect by name, beyond those of the op table."""


NUMBERS = (int, float, torch.SymInt, torch.SymFloat)


class Kind(Enum):
    """What a node is to launches."""

    LAUNCH = "a kernel's call"
    VIEW = "a view of a launch's result, or one of several results"
    CAT = "a cat of launches' results, which they can write to"
    PURE = "an operation without effect"
    EFFECT = "anything else: nothing moves past it"


def name_of(node: fx.Node) -> str:
    """What a method, a function or an ATen operation is called, without its overload."""
    target = node.target
    return str(target if isinstance(target, str) else getattr(target, "__name__", "")).split(".")[0]


HELD = (Kind.LAUNCH, Kind.VIEW, Kind.CAT)
"""What lies where kernels wrote it."""

Levels = dict[fx.Node, int]


def arranged(
    graph: fx.Graph, results: Results, in_place: bool
) -> tuple[dict[fx.Node, Kind], list[tuple[list[fx.Node], Levels]]]:
    """The kind of every node but placeholders, and of each segment the levels.

    Cats are PyTorch's unless they are wanted ``in_place`` and their launches can stand together.
    """
    apart: set[fx.Node] = set() if in_place else {*graph.nodes}
    while True:
        kind = _kinds(graph, results, apart)
        found = [(segment, _levels(segment, kind)) for segment in _segments(graph.nodes, kind)]
        cats = [
            node
            for segment, level in found
            for node in segment
            if kind[node] is Kind.CAT and not _is_in_place(node, results, kind, level)
        ]
        if not cats:
            return kind, found
        apart.update(cats)


def _is_in_place(
    cat: fx.Node, results: Results, kind: Mapping[fx.Node, Kind], level: Levels
) -> bool:
    """Whether a cat's launches have its level; and if others read it, it lies as PyTorch's."""
    launches = map(launch_of, results_in(cat, results, lambda node: kind.get(node) is Kind.VIEW))
    together = all(level.get(launch) == level[cat] for launch in launches)
    return together and (is_row_major(cat) or _is_inside(cat, kind, level))


def _is_inside(node: fx.Node, kind: Mapping[fx.Node, Kind], level: Levels) -> bool:
    """Whether only launches of the same level read a node, or views of it."""
    return all(
        level.get(user) == level[node]
        and kind[user] in HELD
        and (kind[user] is not Kind.VIEW or _is_inside(user, kind, level))
        for user in node.users
    )


def _kinds(graph: fx.Graph, results: Results, apart: Collection[fx.Node]) -> dict[fx.Node, Kind]:
    """The kind of every node but placeholders; cats that stand ``apart`` are PyTorch's."""
    found: dict[fx.Node, Kind] = {}

    def is_view(node: fx.Node) -> bool:
        return found.get(node) is Kind.VIEW

    for node in graph.nodes:
        if node.op == "placeholder":
            continue
        if results(node):
            found[node] = Kind.LAUNCH
        elif not _is_pure(node):
            found[node] = Kind.EFFECT
        elif _is_view(node) and found.get(node.args[0]) in HELD:
            found[node] = Kind.VIEW
        elif node not in apart and results_in(node, results, is_view):
            found[node] = Kind.CAT
        else:
            found[node] = Kind.PURE
    return found


def _is_pure(node: fx.Node) -> bool:
    """Whether a node only computes its value, which is the same whenever it does so."""
    if node.op == "get_attr":
        return True
    if node.op not in ("call_function", "call_method") or node.target in VIEWS_IN_PLACE:
        return False
    if mutated(node) is not None:
        return False
    call, name = lookup(node), name_of(node)
    if call is not None:
        return not is_random(call)
    return name in OTHER_PURE or name in OTHER_VIEWS


def is_random(call: Call) -> bool:
    """Whether an op of the table draws random numbers, whose order is part of their meaning."""
    if call.op in ("dropout", "rrelu"):
        return call.get("training", call.op == "dropout") is not False
    return call.op == "sdpa" and call.get("dropout_p", 0.0) != 0.0


def _is_view(node: fx.Node) -> bool:
    """Whether a node may be a view of its first argument, which is its only tensor."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    call = lookup(node)
    if name_of(node) not in OTHER_VIEWS and (call is None or call.op not in VIEWS):
        return False
    others = (traced_value(other) for other in node.all_input_nodes if other is not node.args[0])
    if not all(isinstance(other, NUMBERS) for other in others):
        return False
    known = storage(node), storage(node.args[0])
    return None in known or known[0] == known[1]


def _segments(nodes: Iterable[fx.Node], kind: Mapping[fx.Node, Kind]) -> Iterator[list[fx.Node]]:
    """The nodes between those that may have an effect, in order."""
    found: list[fx.Node] = []
    for node in nodes:
        if node not in kind or kind[node] is Kind.EFFECT:
            yield found
            found = []
        else:
            found.append(node)
    yield found


def _levels(segment: Sequence[fx.Node], kind: Mapping[fx.Node, Kind]) -> Levels:
    """The level of each node of a segment, the latest one at which its readers can have it.

    So what a launch makes does not wait for its readers in memory.
    """
    found: Levels = {}
    for node in segment:
        inputs = [of for of in node.all_input_nodes if of in found]
        found[node] = max((found[of] + _steps(of, node, kind) for of in inputs), default=0)
    for node in reversed(segment):
        late = [found[user] - _steps(node, user, kind) for user in node.users if user in found]
        found[node] = max(found[node], min(late, default=0))
    return found


def _steps(source: fx.Node, reader: fx.Node, kind: Mapping[fx.Node, Kind]) -> int:
    """1 where a result of launches goes to an operation of PyTorch's."""
    return int(kind[source] in HELD and kind[reader] is Kind.PURE)
