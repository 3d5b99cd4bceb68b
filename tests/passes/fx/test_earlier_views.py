"""Views in place: earlier nodes are what they were when they were made, or nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit
from snipjit.passes.fx.graph.earlier_views import VIEWS
from tests.passes.fx.support import graph_of


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).softmax(-1) @ v


def result_viewed_then_moved(q: Tensor, k: Tensor, v: Tensor) -> Any:
    out = attend(q, k, v)
    folded = out.view(8, -1, 16)
    out.swapaxes_(0, 1)
    return folded, out


def result_moved(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return attend(q, k, v).transpose_(1, 2)


def result_moved_twice(q: Tensor, k: Tensor, v: Tensor) -> Any:
    out = attend(q, k, v)
    out.transpose_(1, 2)
    out.transpose_(0, 3)
    return out, out.sum(-1)


def keys_moved(q: Tensor, k: Tensor, v: Tensor) -> Any:
    keys = k * 1.0
    keys.transpose_(-1, -2)
    return (q @ keys).softmax(-1) @ v


def keys_moved_afterwards(q: Tensor, k: Tensor, v: Tensor) -> Any:
    keys = k.clone()
    out = attend(q, keys, v)
    keys.transpose_(1, 2)
    return out, keys


def bias_gets_dims(q: Tensor, k: Tensor, v: Tensor) -> Any:
    bias = q[0, 0, :1, :7].clone()
    out = (q @ k.mT + bias).softmax(-1) @ v
    bias.unsqueeze_(0)
    bias.unsqueeze_(-1)
    return out, bias


def mask_turned(q: Tensor, k: Tensor, v: Tensor) -> Any:
    mask = torch.ones(7, 7, dtype=torch.bool).tril()
    mask.t_()
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


FUSED = (
    result_viewed_then_moved,
    result_moved,
    result_moved_twice,
    keys_moved,
    keys_moved_afterwards,
    bias_gets_dims,
    mask_turned,
)


def restrided(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return attend(q, k, v).as_strided_((2, 7, 4, 16), (448, 16, 112, 1))


def squeezed(q: Tensor, k: Tensor, v: Tensor) -> Any:
    out = attend(q[:1], k[:1], v[:1])
    total = out.sum()
    out.squeeze_()
    return out, total


def replaced(q: Tensor, k: Tensor, v: Tensor) -> Any:
    out: Any = attend(q, k, v)
    double = out * 2
    out.set_(k)
    return double, out


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("form", [*FUSED, restrided, squeezed, replaced])
@pytest.mark.usefixtures("fresh")
def test_results_and_their_strides_are_eagers(form: Callable[..., Any], dynamic: bool) -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 16)
    with torch.inference_mode():
        expected = form(q.clone(), k.clone(), v)
        found = torch.compile(form, backend="snipjit", dynamic=dynamic)(q.clone(), k.clone(), v)
    pairs = zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True)
    for one, want in pairs:
        torch.testing.assert_close(one, want)
        assert one.stride() == want.stride()
    assert snipjit.stats().subgraphs == (form in FUSED)


@pytest.mark.parametrize("form", [restrided, squeezed])
def test_what_cannot_be_undone_is_refused(form: Callable[..., Any]) -> None:
    assert "viewed in place later" in graph_of(form, *torch.randn(3, 2, 4, 7, 16)).reason


def test_the_list_is_torchs() -> None:
    methods = [name for name in dir(torch.Tensor) if name.endswith("_") and name[0] != "_"]
    packets = {name: getattr(torch.ops.aten, name, None) for name in methods}
    views = {
        name
        for name, packet in packets.items()
        if packet is not None
        for overload in packet.overloads()
        if torch.Tag.inplace_view in getattr(packet, overload).tags
    }
    # Of torch below 2.13 only: it gives dims names, and moves nothing.
    assert views - {"rename_"} == {*VIEWS}
