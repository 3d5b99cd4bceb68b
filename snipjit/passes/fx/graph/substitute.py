"""Puts a compiled call in the place of a candidate's nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from snipjit.ir.subgraph import TensorType
from snipjit.passes.fx.graph.candidate import Candidate, Number
from snipjit.passes.fx.graph.dense_operands import dense_operand
from snipjit.passes.fx.graph.earlier_views import forget_earlier_views
from snipjit.passes.fx.graph.gradients import forget_mark
from snipjit.passes.fx.graph.head_scale import HeadScale
from snipjit.passes.fx.graph.writes import forget_writes
from snipjit.passes.fx.nodes.calls import is_check, lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.traced import is_integer, traced_value

_REPLACED = "snipjit_replaced"


def substitute(gm: fx.GraphModule, candidate: Candidate, target: Callable[..., Any]) -> fx.Node:
    """Replace the outputs of a candidate by one node that calls ``target(*tensors, *scalars)``.

    With several results ``target`` returns a tuple. Nodes that nothing reads afterwards are erased.
    An operand that an earlier substitution replaced is found in its new place. The caller
    recompiles the module.
    """
    replaced: dict[fx.Node, fx.Node] = gm.meta.setdefault(_REPLACED, {})
    _name_versions(candidate, replaced)
    place = _place(gm.graph, candidate)
    types = (parameter.type for parameter in candidate.subgraph.parameters)
    arguments = [
        *(
            _tensor(dense_operand(replaced.get(node, node), candidate, place), type, place)
            for node, type in zip(candidate.tensors, types, strict=True)
        ),
        *(_scalar(number, replaced, place) for number in candidate.scalars),
    ]
    with gm.graph.inserting_before(place):
        call = gm.graph.call_function(target, tuple(arguments))
        results = [call]
        if len(candidate.outputs) > 1:
            count = len(candidate.outputs)
            results = [gm.graph.call_function(operator.getitem, (call, i)) for i in range(count)]
    for output, result in zip(candidate.outputs, results, strict=True):
        result.meta = dict(output.meta)
        output.replace_all_uses_with(result)
        replaced[output] = result
    _erase(gm.graph, candidate)
    return call


def _name_versions(candidate: Candidate, replaced: Mapping[fx.Node, fx.Node]) -> None:
    """Let readers of an in-place op's value mention the op itself: it returns what it changed."""
    for (reader, mentioned), version in candidate.versions.items():
        reader.replace_input_with(replaced.get(mentioned, mentioned), version)


def _tensor(node: fx.Node, wanted: TensorType, place: fx.Node) -> fx.Node:
    """A tensor of the call; other integers than the kernel's as float32, to which PyTorch too
    converts them, and numbers of 64 bits that it takes."""
    given = traced_value(node)
    if wanted.dtype != "f32" or not isinstance(given, torch.Tensor):
        return node
    if not is_integer(node) and given.dtype != torch.float64:
        return node
    with place.graph.inserting_before(place):
        return place.graph.call_method("to", (node, torch.float32))


def _scalar(number: Number, replaced: Mapping[fx.Node, fx.Node], place: fx.Node) -> fx.Node | float:
    if isinstance(number, HeadScale):
        return number.written(replaced.get(number.query, number.query), place)
    return replaced.get(number, number) if isinstance(number, fx.Node) else number


def _place(graph: fx.Graph, candidate: Candidate) -> fx.Node:
    """The last of a candidate's nodes, or a reader of a result that stands before it."""
    own = set(candidate.nodes)
    for node in [user for output in candidate.outputs for user in output.users if is_check(user)]:
        graph.erase_node(node)
    readers = (user for output in candidate.outputs for user in output.users if user not in own)
    return min([candidate.nodes[-1], *readers])


def forget(gm: fx.GraphModule) -> None:
    """Drop what was noted on the way: caches pickle what a module and its nodes hold."""
    gm.meta.pop(_REPLACED, None)
    forget_mark(gm)
    forget_earlier_views(gm.graph)
    forget_writes(gm.graph)


def _erase(graph: fx.Graph, candidate: Candidate) -> None:
    """Erase the nodes of a candidate that have no users, and pure producers left without any."""
    scalars = (n.query if isinstance(n, HeadScale) else n for n in candidate.scalars)
    keep = {node for node in (*candidate.tensors, *scalars) if isinstance(node, fx.Node)}
    pending = list(reversed(candidate.nodes))
    erased: set[fx.Node] = set()
    own = set(pending)
    while pending:
        node = pending.pop(0)
        pure = lookup(node) is not None and mutated(node) is None
        if node in erased or node in keep or not (node in own or pure):
            continue
        if not all(is_check(user) for user in node.users):
            continue
        for user in list(node.users):
            graph.erase_node(user)
        pending += node.all_input_nodes
        graph.erase_node(node)
        erased.add(node)
