"""The dynamic sizes of an exported program under names that a user knows: ``input_ids.1``."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram

from snipjit.torch_private import expression

Symbol = Any  # sympy's, which has no types

MOST = 4
"""How many names of one size are told."""


def user_nodes(program: ExportedProgram) -> list[torch.fx.Node]:
    """The placeholders of the user's inputs, in call order (not of parameters and buffers)."""
    signature = program.graph_signature
    lifted = len(signature.input_specs) - len(signature.user_inputs)
    return [node for node in program.graph.nodes if node.op == "placeholder"][lifted:]


def traced_shape(node: torch.fx.Node) -> tuple[int | torch.SymInt, ...]:
    """The traced shape of an input; () where it is not a tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()


def symbol_names(program: ExportedProgram) -> dict[Symbol, list[str]]:
    """Each symbol that is the size of a dim, with all such dims as ``input.dim``."""
    found: dict[Symbol, list[str]] = {}
    for node in user_nodes(program):
        for dim, size in enumerate(traced_shape(node)):
            if isinstance(size, torch.SymInt) and expression(size).is_Symbol:
                found.setdefault(expression(size), []).append(f"{node.name}.{dim}")
    return found


def dynamic_sizes(program: ExportedProgram) -> dict[str, str]:
    """The range of each dynamic size: ``{"input_ids.1 = attention_mask.1": "2..512"}``."""
    return {
        _equal(names): range_text(program, symbol)
        for symbol, names in symbol_names(program).items()
    }


def _equal(names: list[str]) -> str:
    """Names of one size, the first few of many."""
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    return " = ".join(names[:MOST] + more)


def range_text(program: ExportedProgram, symbol: Symbol) -> str:
    """A symbol's range as ``2..512``, or ``2..`` where nothing bounds it from above."""
    allowed = program.range_constraints.get(symbol)
    if allowed is None:
        return "0.."
    return f"{allowed.lower}..{allowed.upper if allowed.upper.is_Integer else ''}"
