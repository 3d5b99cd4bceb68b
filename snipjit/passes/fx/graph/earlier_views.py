"""Views in place (``x.transpose_(0, 1)``): what their tensor was before them.

Dynamo leaves one fake tensor on a node and on each view in place of it, and so the node carries the
shape and strides of later. The views that can be undone are undone, from the last to the first, by
views that share its memory; before any other (``as_strided_``, ``set_``) nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import EARLIER, ints, traced_value

VIEWS = (
    "as_strided_ detach_ resize_ resize_as_ set_ squeeze_ swapaxes_ swapdims_ t_ transpose_ "
    "unsqueeze_"
).split()
"""The methods that change how a tensor lies in memory, and nothing in memory."""

UNDONE: dict[str, Callable[[torch.Tensor, Call], Any]] = {
    "cast": lambda x, call: x,  # detach_
    "transpose": lambda x, call: x.transpose(*ints([call.get("dim0"), call.get("dim1")])),
    "transpose_last": lambda x, call: x.t(),
    "unsqueeze": lambda x, call: x.squeeze(*ints([call.get("dim")])),
}


def note_earlier_views(graph: fx.Graph) -> None:
    """Note on each node the value that it had when it was made.

    Before:  %o = matmul(…) has the shape [H, B, S, D]; %t = o.swapaxes_(0, 1)
    After:   %o has [B, H, S, D], and %t what it had
    """
    before: dict[int, Any] = {}
    for node in reversed(list(graph.nodes)):
        found = traced_value(node)
        if not isinstance(found, torch.Tensor):
            continue
        if id(found) in before:
            node.meta[EARLIER] = before[id(found)]
        if node.op == "call_method" and node.target in VIEWS and mutated(node) is not None:
            later = before.get(id(found), found)
            before[id(found)] = None if later is None else _undone(node, later)


def _undone(node: fx.Node, later: torch.Tensor) -> torch.Tensor | None:
    """The tensor before a view in place; None if that is not known."""
    call = lookup(node)
    undo = UNDONE.get(call.op) if call is not None else None
    try:
        return undo(later, call) if undo is not None and call is not None else None
    except RefusedError:
        return None


def forget_earlier_views(graph: fx.Graph) -> None:
    """Drop what was noted: caches pickle what nodes carry."""
    for node in graph.nodes:
        node.meta.pop(EARLIER, None)
