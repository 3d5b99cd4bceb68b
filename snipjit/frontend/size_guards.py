"""Size guards: what tracing took for granted of the sizes of a program's inputs.

Export keeps them as Python conditions on the inputs by name, ``L['q'].size()[1] % 4 == 0``: each
decided a branch of the model, so that another size needs another program.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import torch
from torch.export import ExportedProgram

from snipjit.errors import InputError
from snipjit.frontend.signature import input_names
from snipjit.torch_private import guard_functions, guards_code

KEPT = 1024
"""How many sets of sizes are remembered to be right."""

_FLAT = "flat_args"
"""What newer tracers call all inputs in a row."""


@dataclass(frozen=True)
class SizeGuards:
    """The conditions, each with its text for a message."""

    conditions: tuple[tuple[str, CodeType], ...]
    _right: set[tuple[Any, ...]] = field(default_factory=set)

    def check(self, values: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Raise InputError, which names the condition, for sizes that do not meet one."""
        if not self.conditions:
            return
        key = tuple(v.shape if isinstance(v, torch.Tensor) else v for v in values)
        if key in self._right:
            return
        names = {"L": {**named, _FLAT: values}}
        for text, code in self.conditions:
            try:
                holds = eval(code, dict(guard_functions()), names)
            except ZeroDivisionError:
                holds = False
            if not holds:
                raise InputError(f"the program was exported for inputs with {text}")
        if len(self._right) >= KEPT:
            self._right.clear()
        self._right.add(key)


def size_guards(exported: ExportedProgram) -> SizeGuards:
    """The conditions of a program on its inputs; those on anything else hold for good."""
    places, keywords = input_names(exported)
    known = {*places, *keywords, _FLAT}
    trees = [ast.parse(text.strip(), mode="eval") for text in guards_code(exported)]
    return SizeGuards(
        tuple(
            (_readable(tree), compile(tree, "<size guard>", "eval"))
            for tree in trees
            if _inputs(tree) <= known and _functions(tree) <= guard_functions().keys()
        )
    )


def _inputs(tree: ast.AST) -> set[Any]:
    """The names of the inputs that a condition reads."""
    return {
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and _is_inputs(node.value)
        if isinstance(node.slice, ast.Constant)
    }


def _functions(tree: ast.AST) -> set[str]:
    names = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {name for name in names if name not in ("L", "min", "max", "abs")}


def _is_inputs(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "L"


class _Readable(ast.NodeTransformer):
    """``L['q']`` as ``q``."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if _is_inputs(node.value) and isinstance(node.slice, ast.Constant):
            return ast.Name(str(node.slice.value), ast.Load())
        return self.generic_visit(node)


def _readable(tree: ast.Expression) -> str:
    copy = ast.parse(ast.unparse(tree), mode="eval")
    return ast.unparse(_Readable().visit(copy))
