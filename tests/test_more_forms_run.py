"""Further forms of attention: each is one kernel, dynamic, static and exported, as eager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from tests.passes.fx.attention_forms import Model

Maker = Callable[[int, int], tuple[Any, ...]]
SIZES = ((13, 17), (31, 5), (77, 31))


@dataclass(frozen=True)
class Form:
    """A model, its inputs by the numbers of queries and keys, and how many kernels it becomes."""

    model: Callable[..., Any]
    inputs: Maker
    kernels: int = 1


FORMS: dict[str, Form] = {}


def form(inputs: Maker, kernels: int = 1) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        FORMS[function.__name__] = Form(Model(function), inputs, kernels)
        return function

    return note


def _shaped(*shapes: Callable[[int, int], tuple[int, ...]]) -> Maker:
    def make(queries: int, keys: int) -> tuple[Any, ...]:
        return tuple(torch.randn(shape(queries, keys)) / 2 for shape in shapes)

    return make


matrices = _shaped(lambda m, n: (m, 16), lambda m, n: (n, 16), lambda m, n: (n, 8))
heads = _shaped(lambda m, n: (2, 3, m, 16), lambda m, n: (2, 3, n, 16), lambda m, n: (2, 3, n, 8))
vectors = _shaped(lambda m, n: (16,), lambda m, n: (n, 16), lambda m, n: (n, 8))


def _with(maker: Maker, *shapes: Callable[[int, int], tuple[int, ...]]) -> Maker:
    return lambda m, n: (*maker(m, n), *_shaped(*shapes)(m, n))


# Products in their spellings.


@form(_with(matrices, lambda m, n: (n,)))
def addmm_of_scores(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
    return torch.addmm(bias, q, k.t(), alpha=0.25).softmax(-1) @ v


@form(_with(matrices, lambda m, n: (8,)))
def addmm_of_values(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
    return torch.addmm(bias, (q @ k.t()).softmax(-1), mat2=v, beta=2)


@form(matrices)
def inner_products(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.inner(torch.inner(q, k).softmax(-1), v.T)


@form(matrices)
def tensordots(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = torch.tensordot(q, k, dims=([1], [-1]))
    return torch.tensordot(scores.softmax(-1), v, dims=1)


@form(heads)
def linalg_matmuls(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.linalg.matmul(torch.linalg.matmul(q, k.mT).softmax(-1), v)


@form(heads)
def einsums_of_sublists(q: Tensor, k: Tensor, v: Tensor) -> Any:
    p = torch.einsum(q, [0, 1, 2, 3], k, [0, 1, 4, 3], [0, 1, 2, 4]).softmax(-1)
    return torch.einsum(p, [..., 2, 4], v, [..., 4, 5], [..., 2, 5])


@form(vectors)
def one_query(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return (k @ q).softmax(-1) @ v


@form(vectors)
def one_query_by_mv(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.mv(v.T, torch.mv(k, q).softmax(0))


# Scores in other dims.


@form(_with(heads, lambda m, n: (1, 2, 3, m, n)))
def raised_scores(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
    return ((q @ k.mT)[None] + bias).softmax(-1).squeeze(0) @ v


@form(
    _shaped(
        *(lambda m, n: (6, m, 16), lambda m, n: (6, n, 16), lambda m, n: (6, n, 8)),
        lambda m, n: (1, 3, m, n),
    )
)
def heads_apart_for_a_bias(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
    s = q @ k.mT
    s = s.view(-1, 3, s.size(1), s.size(2)) + bias
    return s.view(-1, s.size(2), s.size(3)).softmax(-1) @ v


class RelativePositions(nn.Module):
    """Two key dims between the products, as SAM's and ViTDet's own code has them.

    Windows of an image have the same size in all calls; there may be any number of them.
    """

    def __init__(self, high: int, wide: int) -> None:
        super().__init__()
        self.size = high, wide

    def forward(self, q: Tensor, k: Tensor, v: Tensor, high: Tensor, wide: Tensor) -> Any:
        s, (h, w) = (q * 0.25) @ k.transpose(-2, -1), self.size
        s = s.view(-1, h, w, h, w) + high[:, :, :, :, None] + wide[:, :, :, None, :]
        return s.view(-1, h * w, h * w).softmax(-1) @ v


def _windows(h: int, w: int) -> Maker:
    return lambda m, n: (
        *torch.randn(2, m, h * w, 16),
        torch.randn(m, h * w, 8),
        torch.randn(m, h, w, h),
        torch.randn(m, h, w, w),
    )


class Images(nn.Module):
    """The same where the size of an image is another in each call."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, high: Tensor, wide: Tensor) -> Any:
        s, (h, w) = (q * 0.25) @ k.transpose(-2, -1), high.shape[1:3]
        s = s.view(-1, h, w, h, w) + high[:, :, :, :, None] + wide[:, :, :, None, :]
        return s.view(-1, h * w, h * w).softmax(-1) @ v


FORMS["images"] = Form(Images(), lambda m, n: _windows(m % 11 + 2, n % 7 + 2)(5, 5))

for _h, _w in ((14, 14), (7, 13), (3, 5), (2, 31)):
    FORMS[f"windows_{_h}_{_w}"] = Form(RelativePositions(_h, _w), _windows(_h, _w))


class Axes(nn.Module):
    """A dim that Dynamo makes a symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.axes = [-1, -2]

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return (q @ k.mT).softmax(dim=self.axes[0]) @ v


FORMS["symbolic_dim"] = Form(Axes(), heads)


# Masks.


def _images_of_text(m: int, n: int) -> tuple[Tensor, ...]:
    kind = (torch.arange(m) // 4 % 3).expand(1, m).contiguous()
    return (*torch.randn(3, 1, 4, m, 16), kind)


@form(_images_of_text)
def same_image(q: Tensor, k: Tensor, v: Tensor, kind: Tensor) -> Any:
    """Causal, and tokens of one image see one another (Gemma 3), for a batch of one."""
    i = torch.arange(q.size(2))
    same = (kind[:, :, None] == kind[:, None, :]) & (kind[:, :, None] > 0)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=((i <= i[:, None])[None] | same)[:, None]
    )


def _packed(m: int, n: int) -> tuple[Tensor, ...]:
    q, k, v = torch.randn(m, 4, 16), torch.randn(n, 4, 16), torch.randn(n, 4, 16)
    return q, k, v, torch.rand(1, 1, m, n) > 0.3


@form(_packed)
def packed_sequences(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0].transpose(0, 1)


def _integers(dtype: torch.dtype) -> Maker:
    return lambda m, n: (*torch.randn(3, 2, 4, m, 16), torch.ones(1, 1, m, m).tril().to(dtype))


def _integer_mask(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    s = q @ k.mT
    return (s * mask - 1e4 * (1 - mask)).softmax(-1) @ v


@form(heads)
def mask_made_of_int64(q: Tensor, k: Tensor, v: Tensor) -> Any:
    visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.int64).tril(2)
    return ((q @ k.mT) * visible - (1 - visible) * 1e4).softmax(-1) @ v


FORMS["mask_of_uint8"] = Form(Model(_integer_mask), _integers(torch.uint8))
FORMS["mask_of_int64"] = Form(Model(_integer_mask), _integers(torch.int64))


class MultiHead(nn.Module):
    """nn.MultiheadAttention of one batch with a mask made of indices."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        full = torch.full((x.size(1), x.size(1)), float("-inf"))
        mask = full.triu(1) + full.tril(-10)
        return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]


FORMS["multi_head_of_one"] = Form(MultiHead().eval(), lambda m, n: (torch.randn(1, m, 32),))


# Several softmaxes.


@form(_with(heads, lambda m, n: (2, 3, m, 16), lambda m, n: (2, 3, n, 16)))
def differential(q: Tensor, k: Tensor, v: Tensor, q2: Tensor, k2: Tensor) -> Any:
    return ((q @ k.mT).softmax(-1) - 0.3 * (q2 @ k2.mT).softmax(-1)) @ v


@form(heads)
def two_softmaxes_of_one(q: Tensor, k: Tensor, v: Tensor) -> Any:
    s = q @ k.mT
    return (s.softmax(-1) + (2 * s).softmax(-1)) @ v


def _check(run: Callable[..., Any], of: Form, inputs: tuple[Any, ...]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(run(*inputs), of.model(*inputs), atol=3e-6, rtol=2e-5)


@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", FORMS)
def test_compiled(name: str, dynamic: bool) -> None:
    of = FORMS[name]
    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(of.model, backend="snipjit", dynamic=dynamic)
    for number, sizes in enumerate(SIZES if dynamic else SIZES[:1]):
        _check(compiled, of, of.inputs(*sizes))
        if not number:
            assert snipjit.stats().subgraphs == of.kernels, snipjit.stats().refusals


@pytest.mark.parametrize("name", FORMS)
def test_exported(name: str) -> None:
    of = FORMS[name]
    snipjit.reset_stats()
    program = snipjit.compile(of.model, of.inputs(*SIZES[0]))
    assert snipjit.stats().subgraphs == of.kernels, snipjit.stats().refusals
    for sizes in SIZES:
        _check(program, of, of.inputs(*sizes))


class Sdpa(nn.Module):
    """The fused call, for decompositions to core ATen."""

    def __init__(self, causal: bool, gqa: bool) -> None:
        super().__init__()
        self.causal, self.gqa = causal, gqa

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Any:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=self.causal, enable_gqa=self.gqa
        )


def _bool_mask(m: int) -> Tensor:
    mask = torch.rand(2, 1, m, m) > 0.4
    mask[0, 0, 3] = False  # a row that sees nothing
    return mask


MASKS: dict[str, tuple[Sdpa, Callable[[int], Tensor | None]]] = {
    "none": (Sdpa(False, False), lambda m: None),
    "causal": (Sdpa(True, False), lambda m: None),
    "bool": (Sdpa(False, False), _bool_mask),
    "float": (Sdpa(False, False), lambda m: torch.randn(m, m)),
    "groups": (Sdpa(True, True), lambda m: None),
}


@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", MASKS)
def test_decomposed_to_core_aten(name: str, dynamic: bool) -> None:
    model, mask = MASKS[name]

    def inputs(m: int) -> tuple[Any, ...]:
        q, k, v = torch.randn(3, 2, 4, m, 16)
        heads = 2 if model.gqa else 4
        return q, k[:, :heads], v[:, :heads], mask(m)

    auto = torch.export.Dim.AUTO
    args = inputs(9)
    dims = tuple(dict.fromkeys(range(a.dim()), auto) if a is not None else None for a in args)
    program = torch.export.export(model, args, dynamic_shapes=dims if dynamic else None)
    snipjit.reset_stats()
    compiled = snipjit.compile(program.run_decompositions())
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals
    for size in (9, 13, 31) if dynamic else (9,):
        given = inputs(size)
        torch.testing.assert_close(compiled(*given), model(*given), atol=3e-6, rtol=2e-5)
