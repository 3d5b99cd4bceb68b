"""Puts a compiled call in the place of a candidate's nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate
from snipjit.passes.fx.graph.earlier_views import forget_earlier_views
from snipjit.passes.fx.graph.writes import forget_writes
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_table import is_check, lookup

_REPLACED = "snipjit_replaced"


def substitute(gm: fx.GraphModule, candidate: Candidate, target: Callable[..., Any]) -> fx.Node:
    """Replace the outputs of a candidate by one node that calls ``target(*tensors, *scalars)``.

    With several results ``target`` returns a tuple. Nodes that nothing reads afterwards are erased.
    An operand that an earlier substitution replaced is found in its new place. The caller
    recompiles the module.
    """
    replaced: dict[fx.Node, fx.Node] = gm.meta.setdefault(_REPLACED, {})
    arguments = [
        replaced.get(argument, argument) if isinstance(argument, fx.Node) else argument
        for argument in (*candidate.tensors, *candidate.scalars)
    ]
    with gm.graph.inserting_before(_place(gm.graph, candidate)):
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
    forget_earlier_views(gm.graph)
    forget_writes(gm.graph)


def _erase(graph: fx.Graph, candidate: Candidate) -> None:
    """Erase the nodes of a candidate that have no users, and pure producers left without any."""
    keep = {node for node in (*candidate.tensors, *candidate.scalars) if isinstance(node, fx.Node)}
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
