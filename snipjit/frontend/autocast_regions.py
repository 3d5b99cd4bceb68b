"""Exported programs with ``torch.autocast`` inside: composite operations there, taken apart.

``run_decompositions`` opens the regions and writes the casts of each operation that autocast knows.
Of ``einsum``, ``tensordot``, ``inner`` … it knows only the parts, and torch keeps those whole: they
would compute in float32. So they are replaced by their parts while the region is on.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from snipjit.torch_private import (
    AUTOCAST_REGION,
    is_composite_under_autocast,
    python_dispatcher,
    with_graph,
)


class Region(NamedTuple):
    """The arguments of ``torch.autocast``."""

    device: str
    dtype: torch.dtype | None
    enabled: bool


def with_casts(exported: ExportedProgram) -> ExportedProgram:
    """The program with composite operations in autocast regions as autocast computes them.

    Before:  wrap_with_autocast("cpu", bfloat16, True, …): %s = einsum("bid,bjd->bij", %q, %k)
    After:   wrap_with_autocast(…): … %a = _to_copy(%q, bfloat16); %b = …; %s = bmm(%a, %b)
    """
    parts = [part for part in exported.graph_module.modules() if isinstance(part, fx.GraphModule)]
    if not any(node.target is AUTOCAST_REGION for part in parts for node in part.graph.nodes):
        return exported
    gm = copy.deepcopy(exported.graph_module)
    _open(gm, None)
    return with_graph(exported, gm)


def _open(gm: fx.GraphModule, region: Region | None) -> None:
    """Take apart what stands in a graph and in the graphs inside it."""
    for node in list(gm.graph.nodes):
        if node.op == "get_attr":
            body = getattr(gm, str(node.target), None)
            if isinstance(body, fx.GraphModule):
                _open(body, _region_of(node) or region)
        elif region and region.device == "cpu" and region.enabled and _is_composite(node):
            _take_apart(node, region)
    gm.recompile()


def _region_of(body: fx.Node) -> Region | None:
    """The region whose body a graph is; None if it is another kind of body."""
    regions = [user for user in body.users if user.target is AUTOCAST_REGION]
    arguments: Any = regions[0].args if regions else ()
    return Region(*arguments[:3]) if regions else None


def _is_composite(node: fx.Node) -> bool:
    return node.op == "call_function" and is_composite_under_autocast(node.target)


def _take_apart(node: fx.Node, region: Region) -> None:
    """Put the parts of an operation in its place, as they are traced under its autocast."""
    sources = node.all_input_nodes

    def run(*values: Any) -> Any:
        known = dict(zip(sources, values, strict=True))
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    examples = [source.meta["val"] for source in sources]
    # Without Python's dispatcher sizes would be nodes that have no values.
    with torch.no_grad(), torch.autocast(*region, cache_enabled=False), python_dispatcher():
        parts = make_fx(run)(*examples)
    parts.graph.eliminate_dead_code()
    places = [part for part in parts.graph.nodes if part.op == "placeholder"]
    with node.graph.inserting_before(node):
        result: Any = node.graph.graph_copy(parts.graph, dict(zip(places, sources, strict=True)))
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)
