"""One linear layer: the launcher that ``torch.compile`` leaves in a graph, and what is around."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from benchmarks.linear import OPTIONS
from snipjit.frontend.torch_backend import backend
from snipjit.passes.fx.nodes.traced import is_state, traced_value
from snipjit.runtime.kernel_cache import launchers
from snipjit.runtime.launcher import Launcher

X, WEIGHT, BIAS = "x", "weight", "bias"
Roles = tuple[str, ...]


@dataclass(frozen=True)
class OneLayer:
    """A layer that was compiled.

    call     the launcher; PyTorch's function where there is none
    roles    what that takes, in order
    by_nodes whether operations of PyTorch do the work of these sizes
    around   the compiled module without the launcher: guards, and what passes arguments on
    """

    call: Callable[..., Tensor]
    roles: Roles
    by_nodes: bool
    around: Callable[[], Any]

    def given(self, x: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        """The arguments of the call."""
        values = {X: x, WEIGHT: weight, BIAS: bias}
        return [values[role] for role in self.roles]


def compile_layer(x: Tensor, weight: Tensor, bias: Tensor, weights: str) -> OneLayer:
    """The layer of a weight and a bias, traced with x; ``weights`` is the option."""
    torch._dynamo.reset()
    layer, graphs, ready = nn.Linear(1, 1), list[fx.GraphModule](), F.linear(x, weight, bias)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)

    def keep(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        backend(graph, inputs, options={**OPTIONS, "weights": weights})
        graphs.append(graph)
        return lambda *_: (ready,)

    compiled = torch.compile(layer, backend=keep, dynamic=True)
    compiled(x)
    (graph,) = graphs
    launcher, roles = _found(graph)
    values = {X: x, WEIGHT: weight, BIAS: bias}
    if launcher is None:
        return OneLayer(F.linear, (X, WEIGHT, BIAS), True, lambda: compiled(x))
    by_nodes = _is_by_nodes(launcher, [values[role].shape for role in roles])
    return OneLayer(launcher.call, roles, by_nodes, lambda: compiled(x))


def _found(graph: fx.GraphModule) -> tuple[Launcher | None, Roles]:
    """The launcher in a graph, and the roles of its arguments; None where none does all."""
    known: Mapping[Any, Launcher] = {launcher.call: launcher for launcher in launchers()}
    calls = [node for node in graph.graph.nodes if node.op.startswith("call")]
    if len(calls) != 1 or calls[0].target not in known:
        return None, ()
    return known[calls[0].target], tuple(map(_role, calls[0].args))


def _role(node: Any) -> str:
    if not is_state(node):
        return X
    return WEIGHT if traced_value(node).dim() == 2 else BIAS


def _is_by_nodes(launcher: Launcher, shapes: list[torch.Size]) -> bool:
    forms = launcher.structure.forms
    own = [forms[i].shape(shape) if i in forms else tuple(shape) for i, shape in enumerate(shapes)]
    return launcher.nodes is not None and launcher.structure.prefers_nodes(own)
