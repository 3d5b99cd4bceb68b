"""Side inputs: masks made of indices are computed where they are used, as eager means them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import snipjit
from snipjit.ir.subgraph import Subgraph
from tests.passes.fx.support import Capture, assert_equal_to_eager, exported, graph_of

Tensor = torch.Tensor
LOWEST = torch.finfo(torch.float32).min


def ranges(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def written(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) * 0.3 + mask).softmax(-1) @ v


def triangle(q: Tensor, k: Tensor, fill: float, *more: Any) -> Tensor:
    return torch.full((q.shape[-2], k.shape[-2]), fill, *more)


def window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, (j <= i) & (j > i - 7))


def hidden(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, ~((j > i) | (i - j >= 7)))


def upper(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q, k, v, torch.triu(triangle(q, k, float("-inf")), diagonal=1))


def lower(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = torch.ones(q.shape[-2], k.shape[-2]).tril()
    scores = q @ k.transpose(-1, -2) * 0.3
    return scores.masked_fill(mask == 0, LOWEST).softmax(-1) @ v


def chunk(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i = torch.arange(k.shape[-2] - q.shape[-2], k.shape[-2])[:, None]
    return attend(q, k, v, torch.arange(k.shape[-2]) <= i)


def chunk_filled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    visible = j <= i + (k.shape[-2] - q.shape[-2])
    return written(q, k, v, triangle(q, k, LOWEST).masked_fill(visible, 0))


def chunk_upper(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    past = k.shape[-2] - q.shape[-2]
    return attend(q, k, v, triangle(q, k, float("-inf")).triu(past + 1))


def prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, (j <= i) | (j < 5))


def zero_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, j < i - 3)


def nan_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return written(q, k, v, torch.where(j < i - 3, 0.0, float("-inf")))


def mean_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    scores = q @ k.transpose(-1, -2)
    return torch.where(j < i - 3, scores, LOWEST).softmax(-1) @ v


def distance(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = (index.to(torch.float32) for index in ranges(q, k))
    return written(q, k, v, -0.01 * (i - j) ** 2)


def everything(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, (i >= 0) & (j >= 0))


def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One sequence: what transformers tests of positions when it has no mask."""
    at = torch.arange(k.shape[-2])[None]
    document = (torch.diff(at, prepend=at[:, :1] - 1) != 1).cumsum(-1)
    (i, j), batch = ranges(q, k), torch.arange(1)[:, None, None]
    same = document[batch, i] == document[batch, j]
    return attend(q, k, v, (same & (j <= i))[None])


INDICES: list[Callable[..., Tensor]] = [
    window, hidden, upper, lower, chunk, chunk_filled, chunk_upper, prefix, zero_rows, nan_rows,
    mean_rows, distance, everything, packed,
]  # fmt: skip


def alibi(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    i, j = ranges(q, k)
    bias = slopes[:, None, None] * (j - i)
    return attend(q, k, v, bias.masked_fill(j > i, float("-inf")))


def padded(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    i, j = ranges(q, k)
    mask = (j <= i)[None, None] & pad[:, None, None, :]
    return written(q, k, v, torch.where(mask.expand(q.shape[0], 1, -1, -1), 0.0, LOWEST))


def biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, torch.where(j <= i, bias, float("-inf")))


def static_cache(q: Tensor, k: Tensor, v: Tensor, past: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, j <= i + past)


PAD = torch.arange(37) >= torch.tensor([[5], [0]])
WITH_TENSORS: list[tuple[Callable[..., Tensor], Tensor]] = [
    (alibi, torch.rand(3)),
    (padded, PAD),
    (biased, torch.rand(1, 3, 21, 37)),
    (static_cache, torch.tensor(9)),
]


def remainder(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, (i + j) % 2 == 0)


def product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, i * i >= j * 7)


def far(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, j + 2**24 <= i + 2**24)


def sliced(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i = torch.arange(q.shape[-2] + 3)[:, None]
    return attend(q, k, v, (torch.arange(k.shape[-2]) <= i)[3:])


def in_place(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, triangle(q, k, float("-inf")).masked_fill_(j <= i, 0))


def shortened(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i, j = ranges(q, k)
    return attend(q, k, v, (j * 0.4).to(torch.int64) <= i)


NEAR_MISSES = [remainder, product, far, sliced, in_place, shortened]


def operands() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 21, 8), torch.randn(2, 3, 37, 8), torch.randn(2, 3, 37, 8)


def aten(model: Callable[..., Tensor], *args: Tensor) -> Capture:
    class Module(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None) -> Tensor:
            return model(q, k, v) if x is None else model(q, k, v, x)

    return exported(Module(), (), dict(zip("qkvx", args, strict=False)))


def sides(subgraph: Subgraph) -> list[tuple[int, ...]]:
    """The dims of the side inputs that are longer than 1."""
    found = []
    for parameter in subgraph.parameters:
        ones = parameter.attrs.get("ones", ())
        dims = [dim for dim in range(len(parameter.type.dims)) if dim not in ones]
        found += [tuple(dims)] if parameter.name not in "abc" else []
    return found


LEVELS = [(graph_of, model) for model in INDICES]
LEVELS += [(aten, model) for model in (upper, chunk_filled, packed)]


@pytest.mark.parametrize(("capture", "model"), LEVELS)
def test_indices(capture: Callable[..., Capture], model: Callable[..., Tensor]) -> None:
    found = capture(model, *operands())
    assert sides(found.candidate.subgraph) == []
    assert_equal_to_eager(found)


@pytest.mark.parametrize(
    ("capture", "model", "more"),
    [*((graph_of, *case) for case in WITH_TENSORS), (aten, padded, PAD)],
)
def test_indices_and_tensors(
    capture: Callable[..., Capture], model: Callable[..., Tensor], more: Tensor
) -> None:
    found = capture(model, *operands(), more)
    subgraph = found.candidate.subgraph
    assert subgraph.of("iota")
    assert all(len(dims) < 2 or model in (padded, biased) for dims in sides(subgraph))
    assert_equal_to_eager(found)


@pytest.mark.parametrize("model", NEAR_MISSES)
def test_other_masks_stay_tensors(model: Callable[..., Tensor]) -> None:
    found = graph_of(model, *operands())
    assert sides(found.candidate.subgraph) == [(0, 1)]
    assert not found.candidate.subgraph.of("iota")
    assert_equal_to_eager(found)


def pad_changes(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    i, j = ranges(q, k)
    mask = (j <= i) & pad[:, None, None, :]
    pad.logical_not_()
    return attend(q, k, v, mask)


def position_moves(q: Tensor, k: Tensor, v: Tensor, past: Tensor) -> Tensor:
    i, j = ranges(q, k)
    mask = j <= i + past
    past.add_(3)
    return attend(q, k, v, mask)


@pytest.mark.parametrize(("model", "more"), [(pad_changes, PAD), (position_moves, torch.tensor(9))])
def test_operands_that_change_before_the_kernel_runs(
    model: Callable[..., Tensor], more: Tensor
) -> None:
    found = graph_of(model, *operands(), more.clone())
    assert not found.candidate.subgraph.of("iota")


def two_layers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    i = torch.arange(q.shape[-2])[:, None] + (k.shape[-2] - q.shape[-2])
    mask = torch.arange(k.shape[-2]) <= i
    return attend(attend(q, k, v, mask), k, v, mask)


def test_compiled() -> None:
    """Decoding, chunks and whole prompts with one kernel; the mask's nodes are gone."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        from snipjit.frontend.torch_backend import backend as compile_graph

        run = compile_graph(gm, inputs)
        graphs.append(gm)
        return run

    torch._dynamo.reset()
    compiled = torch.compile(two_layers, backend=backend, dynamic=True)
    snipjit.reset_stats()
    with torch.no_grad():
        for m, n in ((21, 37), (1, 200), (150, 200), (40, 30)):
            q, k, v = (torch.randn(2, 3, size, 8) for size in (m, n, n))
            torch.testing.assert_close(compiled(q, k, v), two_layers(q, k, v), rtol=1e-4, atol=1e-5)
    assert snipjit.stats().subgraphs == 2 * len(graphs)
    targets = [str(node.target) for gm in graphs for node in gm.graph.nodes]
    assert not [target for target in targets if "arange" in target or target == "le"]


def test_limits() -> None:
    with torch.no_grad():
        report = snipjit.explain(chunk, *operands())
    (found,) = report.subgraphs
    assert "for m where n upto m + 0 + %s" in str(found.linear)
