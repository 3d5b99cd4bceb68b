"""Chains in a compiled graph: what passes find in it, the run time makes one call of."""

from __future__ import annotations

from torch import fx

from snipjit.passes.fx import chain_launches, is_state
from snipjit.runtime.chain import Chain
from snipjit.runtime.kernel_cache import launchers
from snipjit.runtime.launcher import Launcher


def chain(gm: fx.GraphModule) -> None:
    """Put one call in the place of launches with nothing of PyTorch's between them."""
    known: dict[object, Launcher] = {launcher.call: launcher for launcher in launchers()}

    def launcher_of(node: fx.Node) -> Launcher | None:
        return known.get(node.target) if node.op == "call_function" else None

    def results(node: fx.Node) -> int:
        launcher = launcher_of(node)
        return len(launcher.structure.interface.outputs) if launcher is not None else 0

    chain_launches(gm, results, lambda body: Chain(body, launcher_of, is_state).call)
