"""Places: where in a user's program the nodes of a graph come from.

Tracing notes of each node the modules around it and the lines of Python that led to it. Names of
nodes are torch.fx's own: to a user they say nothing, and they differ from trace to trace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import fx

from snipjit.refusal import Refusal

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_QUOTED = re.compile(r"`(\w+)`")
_STEP = re.compile(r"\._(?:modules|parameters|buffers)\b|\[['\"]?(\w+)['\"]?\]")
"""A step from a module to a part of it as Dynamo writes it: ``._modules['layer']``, ``[0]``."""


@dataclass(frozen=True)
class Place:
    """The path of a module, empty for the model itself, and ``file:line``, empty if not known."""

    module: str = ""
    line: str = ""

    def __str__(self) -> str:
        return f"{self.module} ({self.line})" if self.module and self.line else self._only

    @property
    def _only(self) -> str:
        return self.module or self.line

    @property
    def short(self) -> str:
        """The file without folders, and the line."""
        return self.line.rpartition("/")[2]


def place_of(node: fx.Node) -> Place:
    """Where a node comes from, as far as tracing has noted it."""
    return Place(_module(node), _line(node.meta.get("stack_trace") or ""))


def _module(node: fx.Node) -> str:
    """The path of the innermost module around a node."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str([*stack.values()][-1][0]) if stack else ""
    path = re.sub(r"^[LG]\[['\"](args['\"]\]\[\d+|\w+['\"])\]", "", path)
    return _STEP.sub(lambda step: f".{step[1]}" if step[1] else "", path).strip(".")


def _line(trace: str) -> str:
    """The innermost line of a stack that is not torch's own."""
    lines = [(found["file"], found["line"]) for found in _LINE.finditer(trace)]
    own = [(file, line) for file, line in lines if not _is_torch(file)]
    return f"{_short(own[-1][0])}:{own[-1][1]}" if own else ""


def _is_torch(file: str) -> bool:
    """Whether a file is torch's, here or on the machine that exported a program."""
    return file.startswith(_TORCH) or "/site-packages/torch/" in file


def _short(file: str) -> str:
    """A file as one would look for it: from the working directory, or from its package."""
    for marker in ("/site-packages/", "/dist-packages/"):
        if marker in file:
            return file.rpartition(marker)[2]
    here = f"{os.getcwd()}{os.sep}"
    return file.removeprefix(here)


class Places:
    """The places of a graph's nodes, for what is told of them by name."""

    def __init__(self, graph: fx.Graph) -> None:
        self._nodes = {node.name: node for node in graph.nodes}

    def noted(self, refusals: Iterable[Refusal]) -> list[Refusal]:
        """Refusals that tell where they are, of which other nodes too."""
        return [self.note(refusal) for refusal in refusals]

    def note(self, refusal: Refusal) -> Refusal:
        """The same of one."""
        node = self._nodes.get(refusal.node)
        own = place_of(node) if node is not None else Place()

        def told(quoted: re.Match[str]) -> str:
            other = self._nodes.get(quoted[1])
            return self._told(other, own) if other is not None else quoted[0]

        place = str(own) or (readable(node) if node is not None else "")
        return replace(refusal, place=place, reason=_QUOTED.sub(told, refusal.reason))

    def _told(self, node: fx.Node, around: Place) -> str:
        """A node by what it does, and its line where that is another one."""
        line = place_of(node).short
        where = f" ({line})" if line and line != around.short else ""
        return f"`{readable(node)}`{where}"


def readable(node: fx.Node) -> str:
    """What a node is, in words of the model: an operation, or an input's name."""
    if node.op in ("placeholder", "get_attr"):
        return _input(str(node.target))
    target = node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    return name.split(".")[0]


def _input(name: str) -> str:
    """``l_self_modules_a_parameters_weight_`` as ``a.weight``, ``l_mask_`` as ``mask``."""
    if re.fullmatch(r"l_+stack\d+_.*", name):
        return "what was computed before a graph break"
    name = re.sub(r"^[lL]_(self_)?|_$", "", name)
    name = re.sub(r"(^|_)_?(modules|parameters|buffers)_", ".", name)
    return name.strip("._")
