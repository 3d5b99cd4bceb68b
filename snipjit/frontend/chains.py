"""Chains in a compiled graph: what passes find in it, the run time makes one call of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx import chain_launches, is_state
from snipjit.runtime.chain import Chain
from snipjit.runtime.kernel_cache import launchers
from snipjit.runtime.launcher import Launcher


def chain(gm: fx.GraphModule, cats: bool = True) -> None:
    """Put one call in the place of launches with nothing of PyTorch's between them.

    Without ``cats`` these are PyTorch's.
    """
    known: dict[object, Launcher] = {launcher.call: launcher for launcher in launchers()}

    def launcher_of(node: fx.Node) -> Launcher | None:
        return known.get(node.target) if node.op == "call_function" else None

    def results(node: fx.Node) -> int:
        launcher = launcher_of(node)
        return len(launcher.structure.interface.outputs) if launcher is not None else 0

    def join(body: fx.Graph) -> Callable[..., Any]:
        return Chain(body, launcher_of, is_state, without_cats=_without_cats).call

    chain_launches(gm, results, join, cats)


def _without_cats(body: fx.Graph) -> Callable[..., Any]:
    """The body of a chain in several."""
    parts = fx.GraphModule(torch.nn.Module(), deepcopy(body))
    chain(parts, cats=False)
    run: Callable[..., Any] = parts.forward
    return run
