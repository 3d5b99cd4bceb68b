"""Writes into a part of a tensor: ``x[mask] = 0``, ``x.diagonal().fill_(1)``, ``select_scatter``.

A write in place gives no node that stands for the tensor afterwards. ``note_writes`` adds one, and
``write_of`` says what it holds: the tensor before, where it was written, and the values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.earlier_views import VIEWS
from snipjit.passes.fx.graph.part_views import REPLACED, VIEWED, replaced, unclear, viewed
from snipjit.passes.fx.graph.places import Place
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import EARLIER, is_tensor, storage, tensor
from snipjit.passes.fx.nodes.written import written

SCATTERS = ("index_put", *REPLACED)
"""Ops that give the tensor with a part of it replaced."""

PUT: dict[str, Callable[[Call], Any]] = {
    "fill": lambda call: call.get("value"),
    "zero": lambda call: 0,
    "copy": lambda call: call.get("src"),
}
"""Ops that give values whatever was there."""

WRITES = ("written", *SCATTERS, *PUT)

_SETITEM = (operator.setitem, "__setitem__")


@dataclass(frozen=True)
class Write:
    """What a tensor holds after a write: ``values`` at ``place``, elsewhere what ``base`` holds.

    ``node`` is what writes. ``call`` is the elementwise function that it applies to the part, None
    if it puts values there: a number or a tensor that broadcasts to the part.
    """

    node: fx.Node
    base: fx.Node
    place: Place
    values: Any
    call: Call | None = None


# Versions.


def note_writes(graph: fx.Graph) -> None:
    """Add a node for each tensor that is read after a write into a part of it.

    Before:  %w = setitem(%s, mask, 0);                        %p = softmax(%s)
    After:   %w = setitem(%s, mask, 0); %v = written(%s, %w);  %p = softmax(%v)

    Of a view that is written to, every tensor that it is a view of is such a one.
    """
    mentions: dict[fx.Node, list[fx.Node]] = {}
    for node in list(graph.nodes):
        target = mutated(node)
        if target is None or _is_view_in_place(node):
            continue
        itself, *viewed = _tensors(target)
        if storage(node) is not None and storage(node) == storage(target):
            mentions.setdefault(itself, [itself]).append(node)  # it stands for the tensor itself
        else:
            viewed.insert(0, itself)
        place = node
        for tensor_of in viewed:
            known = mentions.get(tensor_of, [tensor_of])
            late = [(user, of) for of in known for user in of.users if user > node]
            if late and is_tensor(tensor_of):
                place = _version(known[0], node, place, late)
                mentions[tensor_of] = [place]


def forget_writes(graph: fx.Graph) -> None:
    """Take the nodes of ``note_writes`` away again."""
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is written:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _version(
    base: fx.Node, write: fx.Node, after: fx.Node, late: list[tuple[fx.Node, fx.Node]]
) -> fx.Node:
    with base.graph.inserting_after(after):
        node = base.graph.call_function(written, (base, write))
    node.meta = {key: item for key, item in base.meta.items() if key != EARLIER}
    for user, mentioned in late:
        user.replace_input_with(mentioned, node)
    return node


def _tensors(node: fx.Node) -> Iterator[fx.Node]:
    """The tensor of which a node is a version, and what it is a view of, nearest first."""
    source: fx.Node | None = node
    while source is not None:
        yield (own := _origin(source))
        source = _source(own)


def _source(node: fx.Node) -> fx.Node | None:
    """The tensor of which a node is a view, None if it made its own."""
    source = mutated(node) or (node.args[0] if node.args else None)
    if not isinstance(source, fx.Node):
        return None
    shared = storage(node)
    return source if shared is not None and storage(source) == shared else None


def _origin(node: fx.Node) -> fx.Node:
    """The node that made the tensor of which a node is a version."""
    while (source := _earlier(node)) is not None:
        node = source
    return node


def _earlier(node: fx.Node) -> fx.Node | None:
    """The same tensor before a node wrote to it, None if the node is no version of another."""
    source = node.args[0] if node.target is written else mutated(node)
    if not isinstance(source, fx.Node) or _is_view_in_place(node):
        return None
    return source if storage(node) is not None and storage(source) == storage(node) else None


def _is_view_in_place(node: fx.Node) -> bool:
    return node.op == "call_method" and node.target in VIEWS


# What a write means.


def write_of(flow: ValueFlow, node: fx.Node, call: Call) -> Write:
    """The write whose result a node is; refused if its place or its values are not clear."""
    write = call.get("write", node)
    base = flow.read(node, call.get("input"))
    try:
        return _scattered(flow, node, base, call) if write is node else _in_place(flow, node, base)
    except RefusedError as refused:
        raise RefusedError(
            f"`{write.name}` ({spelled(write)}) writes to a part: {refused}"
        ) from None


def _in_place(flow: ValueFlow, version: fx.Node, base: fx.Node) -> Write:
    """The write that a node of ``note_writes`` stands after."""
    mentioned, write = version.all_input_nodes
    target, call = mutated(write), lookup(write)
    assert target is not None
    place, shape = _place_in(target, mentioned), tensor(target).shape
    if write.target in _SETITEM:
        _, index, values = write.args
        return Write(write, base, place.index(_read(flow, write, index), shape), values)
    if call is None:
        raise unclear(write)
    if call.op == "index_put":
        place = place.index(_indices(flow, write, call), shape)
        return Write(write, base, place, call.get("values"))
    if call.op in PUT:
        return Write(write, base, place, PUT[call.op](call))
    return Write(write, base, place, None, call)


def _scattered(flow: ValueFlow, node: fx.Node, base: fx.Node, call: Call) -> Write:
    whole = Place.whole(base)
    if call.op in PUT:
        return Write(node, base, whole, PUT[call.op](call))
    if call.op == "index_put":
        place = whole.index(_indices(flow, node, call), tensor(base).shape)
        return Write(node, base, place, call.get("values"))
    return Write(node, base, replaced(node, whole), call.get("src"))


def _indices(flow: ValueFlow, node: fx.Node, call: Call) -> Any:
    if call.get("accumulate", False):
        raise RefusedError("it adds up; accepted: accumulate=False")
    items = (slice(None) if item is None else item for item in call.get("indices"))
    return _read(flow, node, tuple(items))


def _read(flow: ValueFlow, node: fx.Node, index: Any) -> Any:
    """An index with the versions of tensors that a node reads."""
    items = index if isinstance(index, tuple) else (index,)
    return tuple(flow.read(node, i) if isinstance(i, fx.Node) else i for i in items)


def views_of(flow: ValueFlow, node: fx.Node) -> Iterator[tuple[fx.Node, Place]]:
    """The tensors of which a value is a view, nearest first, with its place in each.

    What an op in place returns is a view of the tensor as it is then, which is a node of its own.
    """
    chain: list[fx.Node] = []
    while True:
        for version in flow.versions(node):
            target = mutated(node)
            assert target is not None
            yield version, _along(chain, _place_in(target, version.args[0]))
        call = lookup(node)
        source = call.get("input") if call is not None and call.op in VIEWED else None
        if not isinstance(source, fx.Node) or not is_tensor(source) or mutated(node) is not None:
            return
        chain.append(node)
        node = flow.read(node, source)
        yield node, _along(chain, Place.whole(node))


def _place_in(part: fx.Node, base: Any) -> Place:
    """Where a view lies in a tensor that it leads up to."""
    whole = _origin(base)
    chain: list[fx.Node] = []
    for view in _tensors(part):
        if view is whole:
            return _along(chain, Place.whole(whole))
        chain.append(view)
    raise unclear(part)


def _along(chain: list[fx.Node], place: Place) -> Place:
    """The place of the first of some views, the last of which views the part at ``place``."""
    for view in reversed(chain):
        if _is_view_in_place(view):
            raise unclear(view)
        place = viewed(view, place)
    return place
