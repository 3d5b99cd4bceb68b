"""Cats of results: ``torch.cat`` of what launches make. They can write to where it would copy.

Each operand must be a whole result of its own, or a view of one, which nothing else reads ::

    %a = launch(%x)             %b = launch_1(%y)
    %v = transpose(%a, 1, 2)    %w = transpose(%b, 1, 2)
    %c = cat((%v, %w), 2)       # %a and %b may lie in %c
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.traced import memory_order, normal_dim, same_count, traced_value

Results = Callable[[fx.Node], int]
"""How many results a node's kernel has; 0 where it is no launch."""

IsView = Callable[[fx.Node], bool]
"""Whether a node is a view of a result."""


def is_result(node: fx.Node, results: Results) -> bool:
    """Whether a node is a result of a launch: the only one, or one of several."""
    if node.target is not operator.getitem:
        return results(node) == 1
    source = node.args[0]
    return isinstance(source, fx.Node) and results(source) > 1


def launch_of(result: fx.Node) -> fx.Node:
    """The launch that makes a result."""
    return result.all_input_nodes[0] if result.target is operator.getitem else result


def operands(node: fx.Node) -> tuple[tuple[fx.Node, ...], int] | None:
    """What a cat puts together and along which dim, all of one type and rank; None for others."""
    call, whole = lookup(node), traced_value(node)
    if call is None or call.op != "cat" or not isinstance(whole, torch.Tensor):
        return None
    parts, dim = call.get("tensors"), call.get("dim", 0)
    if not isinstance(parts, list | tuple) or not parts or not isinstance(dim, int):
        return None
    for part in parts:
        known = traced_value(part) if isinstance(part, fx.Node) else None
        if not isinstance(known, torch.Tensor):
            return None
        if known.dtype != whole.dtype or known.dim() != whole.dim():
            return None
    return tuple(parts), normal_dim(dim, whole.dim())


def results_in(node: fx.Node, results: Results, is_view: IsView) -> list[fx.Node]:
    """The results that can lie in a cat, in order; none if one of its operands cannot."""
    parts, _ = operands(node) or ((), 0)
    found = [_whole_result(part, results, is_view) for part in parts]
    known = [result for result in found if result is not None]
    return known if len({*known}) == len(parts) else []


def _whole_result(operand: fx.Node, results: Results, is_view: IsView) -> fx.Node | None:
    """The result that an operand has all elements of, if nothing else reads it or its views."""
    node = operand
    while len(node.users) == 1 and is_view(node) and not is_result(node, results):
        node = node.all_input_nodes[0]
    if len(node.users) != 1 or not is_result(node, results) or _is_read_again(node):
        return None
    made, read = traced_value(node), traced_value(operand)
    known = isinstance(made, torch.Tensor) and made.dtype == read.dtype
    return node if known and same_count(node, operand) else None


def _is_read_again(result: fx.Node) -> bool:
    """Whether another node is the same one of several results."""
    launch = launch_of(result)
    return launch is not result and [user.args for user in launch.users].count(result.args) > 1


def is_row_major(cat: fx.Node) -> bool:
    """Whether a cat's operands lie as what PyTorch makes of them: one row behind the other."""
    parts, _ = operands(cat) or ((), 0)
    return all(memory_order(node) == (*range(len(memory_order(node))),) for node in (cat, *parts))
