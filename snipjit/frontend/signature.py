"""Binds a call's arguments to the inputs of an exported program, by place or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram

from snipjit.errors import InputError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def bind(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """The arguments as the program takes them: positional ones by place, the others by name.

    An exported program takes an input only the way it was exported with; here a positional one may
    come by name, and a keyword one by place, as in a call of the module. Raises InputError that
    names the inputs for a missing, unknown or repeated one.
    """
    places, names = input_names(program)
    inputs = (*places, *names)
    given = dict(zip(inputs, args, strict=False))
    repeated = given.keys() & kwargs.keys()
    if len(args) > len(inputs) or repeated or {*given, *kwargs} != set(inputs):
        passed = [f"{len(args)} by place"] * bool(args) + sorted(map(str, kwargs))
        raise InputError(
            f"the program takes the inputs {', '.join(inputs) or 'none'}; "
            f"it was given {', '.join(passed) or 'none'}"
        )
    given.update(kwargs)
    return tuple(given[name] for name in places), {name: given[name] for name in names}


def input_names(program: ExportedProgram) -> tuple[list[str], list[str]]:
    """Names of the inputs that were positional, and of those that were keywords, in call order."""
    positional, keyword = program.call_spec.in_spec.children()
    names = program.module_call_graph[0].signature.forward_arg_names or []
    count = positional.num_children
    unnamed = [f"#{place}" for place in range(count)]
    named = len(names) == count + keyword.num_children
    return (names[:count] if named else unnamed), list(keyword.context)
