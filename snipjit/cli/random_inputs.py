"""Draws inputs for an exported program: sizes in the export's ranges, indices in their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from snipjit.errors import InputError, OptionError
from snipjit.frontend.size_names import Symbol, range_text, symbol_names, traced_shape, user_nodes
from snipjit.torch_private import expression, pytree, traced_number

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
_SAME_VALUES = (
    torch.ops.aten.clone.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.slice.Tensor,
    torch.ops.aten.to.dtype,
    torch.ops.aten.unsqueeze.default,
    torch.ops.aten.view.default,
)
"""Operations through which an index is followed to its table."""


def random_inputs(
    program: torch.export.ExportedProgram,
    sizes: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Inputs:
    """Positional and keyword inputs of random values for a program, the same for the same seed.

    A dynamic dimension has the size it was exported with unless ``sizes`` names another: under
    its symbol (``s27``) or as ``input.dim`` (``input_ids.1``). Floats are normal; integers lie
    below the height of the smallest table that they index, and are 0 or 1 where they index none;
    numbers, strings and None are those of the export. Raises OptionError for a name that does not
    exist or a size outside its range, InputError for complex inputs.
    """
    nodes = user_nodes(program)
    chosen = _choose_sizes(program, nodes, dict(sizes or {}))
    generator = torch.Generator().manual_seed(seed)
    leaves = [_draw(node, chosen, generator) for node in nodes]
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return tuple(args), dict(kwargs)


def _symbols(nodes: list[torch.fx.Node]) -> dict[Symbol, int]:
    """Every symbol in the inputs' sizes with the size it was exported with."""
    symbols: dict[Symbol, int] = {}
    for size in (s for node in nodes for s in traced_shape(node) if isinstance(s, torch.SymInt)):
        if expression(size).is_Symbol:
            symbols[expression(size)] = int(traced_number(size))
    return symbols


def _choose_sizes(
    program: torch.export.ExportedProgram, nodes: list[torch.fx.Node], wanted: dict[str, int]
) -> dict[Symbol, int]:
    """The size of each symbol: the wanted one where one is given, else the exported one."""
    chosen = _symbols(nodes)
    names = {str(symbol): symbol for symbol in chosen}
    for symbol, dims in symbol_names(program).items():
        names.update(dict.fromkeys(dims, symbol))
    given: dict[Symbol, int] = {}
    for name, size in wanted.items():
        if name not in names:
            known = ", ".join(names) or "none: every size is fixed"
            raise OptionError(f"no dynamic size is called {name!r}; there are: {known}")
        _check_range(program, names[name], name, size)
        if given.setdefault(names[name], size) != size:
            raise OptionError(f"size {name}={size} is also given as {given[names[name]]}")
        chosen[names[name]] = size
    return chosen


def _check_range(
    program: torch.export.ExportedProgram, symbol: Symbol, name: str, size: int
) -> None:
    """Raise OptionError for a size that the export does not allow."""
    allowed = program.range_constraints.get(symbol)
    if size < 0 or (allowed is not None and not allowed.lower <= size <= allowed.upper):
        raise OptionError(f"size {name}={size} is outside {range_text(program, symbol)}")


def _draw(node: torch.fx.Node, sizes: Mapping[Symbol, int], generator: torch.Generator) -> Any:
    """A random value for one input."""
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return value
    shape = [_evaluate(node, size, sizes) for size in value.shape]
    if value.dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(value.dtype)
    if value.dtype.is_complex:
        raise InputError(f"input {node.name} is complex: give the inputs in a file")
    limit = 2 if value.dtype == torch.bool else _index_limit(node)
    return torch.randint(limit, shape, generator=generator).to(value.dtype)


def _evaluate(node: torch.fx.Node, size: int | torch.SymInt, sizes: Mapping[Symbol, int]) -> int:
    """A traced size with the symbols replaced by the chosen sizes."""
    if not isinstance(size, torch.SymInt):
        return size
    value = expression(size).subs(dict(sizes))
    if not value.is_Integer or value < 0:
        raise OptionError(f"no size {size} of input {node.name} belongs to the sizes given")
    return int(value)


def _index_limit(node: torch.fx.Node) -> int:
    """One more than the largest integer this input may hold: the height of the table it indexes."""
    heights: list[int] = []
    reached = [node]
    for current in reached:
        for user in current.users:
            if user.target is torch.ops.aten.embedding.default and user.args[1] is current:
                heights.append(int(user.all_input_nodes[0].meta["val"].shape[0]))
            elif user.target in _SAME_VALUES and user not in reached:
                reached.append(user)
    return min(heights, default=2)
