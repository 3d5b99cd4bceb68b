"""Who runs in the attention benchmark: eager, SDPA, our launcher, our whole ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from snipjit.compiler import compile_subgraph
from snipjit.passes.fx import tokenize
from snipjit.runtime.kernel_cache import launcher_of

Call = Callable[[], Any]

NAMES = ("eager", "sdpa", "snipjit", "compile")
"""Those that compute the row's attention."""


def written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention as models write it: two matmuls around a softmax."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * (1 / sqrt(q.shape[-1]))
    if mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def fused(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same by PyTorch's own fused function."""
    return F.scaled_dot_product_attention(q, k, v, mask)


def attention(inputs: tuple[torch.Tensor, ...]) -> dict[str, Call]:
    """Calls of every contestant on the same tensors, compiled and warm.

    Where there is a mask, ``plain`` is our launcher without it.
    """
    ours = {"snipjit": launcher_call(written_out, inputs)}
    if len(inputs) > 3:
        ours["plain"] = launcher_call(written_out, inputs[:3])
    torch._dynamo.reset()
    compiled = torch.compile(written_out, backend="snipjit", dynamic=True)
    compiled(*inputs)
    return {
        "eager": lambda: written_out(*inputs),
        "sdpa": lambda: fused(*inputs),
        **ours,
        "compile": lambda: compiled(*inputs),
    }


def launcher_call(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> Call:
    """A call of the launcher that ``torch.compile`` leaves in the graph of ``function``.

    The arguments are those that the launcher gets there: no guard and no other node runs.
    """
    graph, values = _traced(function, inputs)
    (candidate,) = tokenize(graph).candidates
    launcher = launcher_of(compile_subgraph(candidate.subgraph)).call
    nodes = (*candidate.tensors, *candidate.scalars)
    arguments = [values[node] if isinstance(node, fx.Node) else node for node in nodes]
    return lambda: launcher(*arguments)


def _traced(
    function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]
) -> tuple[fx.GraphModule, dict[fx.Node, Any]]:
    """The graph that a backend receives for a function, and what each node gives on the inputs."""
    traces: list[tuple[fx.GraphModule, dict[fx.Node, Any]]] = []

    def backend(graph: fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            interpreter = fx.Interpreter(graph, garbage_collect_values=False)
            result = interpreter.run(*args)
            traces.append((graph, interpreter.env))
            return result

        return run

    torch._dynamo.reset()
    torch.compile(function, backend=backend, dynamic=True)(*inputs)
    return traces[0]


def exact(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The attention in float64, head by head: whole scores of the largest row take 2 GiB."""
    heads = []
    for head in range(q.shape[1]):
        one_q, one_k, one_v = (tensor[:, head].double() for tensor in (q, k, v))
        bias = None if mask is None else mask[:, min(head, mask.shape[1] - 1)].double()
        heads.append(written_out(one_q, one_k, one_v, bias))
    return torch.stack(heads, dim=1)
