"""Which joins of a graph grow an input that it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx

from snipjit.passes.fx import grown_tensors

Graph = Callable[..., Any]


def grown(function: Graph) -> list[tuple[str, tuple[str, ...], int]]:
    traced: list[fx.GraphModule] = []

    def keep(gm: fx.GraphModule, inputs: Any) -> Any:
        traced.append(gm)
        return gm.forward

    torch._dynamo.reset()
    cache, new = torch.ones(1, 2, 7, 4), torch.ones(1, 2, 1, 4)
    with torch.inference_mode():
        torch.compile(function, backend=keep, dynamic=True)(cache, new)
    (gm,) = traced
    return [
        (
            getattr(found.node.target, "__name__", ""),
            tuple(of.op for of in found.tensors),
            found.dim,
        )
        for found in grown_tensors(gm.graph)
    ]


FOUND: dict[str, Graph] = {
    "returned": lambda k, n: (torch.cat([k, n], -2),),
    "read too": lambda k, n: ((joined := torch.cat((k, n * 2), dim=-2)).sum(), joined),
    "a window of it": lambda k, n: torch.cat([k, n], -2)[:, :, 1:, :],
    "otherwise spelled": lambda k, n: torch.concat(tensors=[k, n], dim=-2),
}
LEFT: dict[str, Graph] = {
    "stays inside": lambda k, n: torch.cat([k, n], -2).sum(),
    "of a computed one": lambda k, n: torch.cat([k * 2, n], -2),
    "of one": lambda k, n: torch.cat([k], -2),
    "a copy leaves": lambda k, n: torch.cat([k, n], -2).transpose(1, 2) + 1,
    "into another": lambda k, n: torch.cat([k, n], -2, out=torch.empty(1, 2, 8, 4)),
    "a flat one without elements": lambda k, n: torch.cat([k, torch.empty(0)], -2),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    ((target, ops, dim),) = grown(FOUND[name])
    assert target in ("cat", "concat")
    assert (ops[0], len(ops), dim) == ("placeholder", 2, -2)


@pytest.mark.parametrize("name", LEFT)
def test_left(name: str) -> None:
    assert not grown(LEFT[name])
