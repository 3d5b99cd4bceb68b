"""Forms of attention through the whole compiler: kernels against eager, at sizes new to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import snipjit
from snipjit.compiler import optimize
from snipjit.ir.linear_ir import Loop
from snipjit.passes.base import run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.target.target_machine import PORTABLE
from tests.passes.fx import more_forms
from tests.passes.fx.attention_forms import Model, qkv
from tests.passes.fx.support import graph_of

QUICK = ("einsum_groups", "sink_last", "triangles")
LONG = (
    "einsum_keys_first", "log_sum_exp", "columns_of_the_transpose", "scaled_keys", "chained_masks",
    "all_hidden", "any_visible", "safe_softmax",
)  # fmt: skip
RUN = (*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in LONG))
FORMS = {form.name: form for form in more_forms.MORE}


def _run(model: Callable[..., Any], *args: Any, subgraphs: int = 1, dynamic: bool = True) -> Any:
    """What the compiled model returns; as many subgraphs as expected are fused."""
    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(model, backend="snipjit", dynamic=dynamic)
    with torch.no_grad():
        result = compiled(*args)
    assert snipjit.stats().subgraphs == subgraphs, snipjit.stats().refusals
    return result


def _equal(result: Tensor, model: Callable[..., Any], *args: Tensor) -> None:
    """The same as eager, computed in double precision."""
    with torch.no_grad():
        wide = [arg.double() if arg.is_floating_point() else arg for arg in args]
        torch.testing.assert_close(result.double(), model(*wide), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", RUN)
def test_forms_of_a_dynamic_graph_and_of_a_program(name: str) -> None:
    form = FORMS[name]
    inputs = form.inputs()
    _equal(_run(form.function, *inputs), _without_casts(form.function), *inputs)
    snipjit.reset_stats()
    program = snipjit.compile(Model(form.function), inputs)
    assert snipjit.stats().subgraphs == 1
    _equal(program(*inputs), _without_casts(form.function), *inputs)


def _without_casts(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A form whose float32 constants, such as masks, take the type of the inputs."""

    def wide(*args: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        try:
            return function(*args)
        finally:
            torch.set_default_dtype(torch.float32)

    return wide


def _sinks(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, bias: Tensor) -> Tensor:
    column = sinks.view(1, -1, 1, 1).expand(q.shape[0], -1, q.shape[2], 1)
    scores = torch.cat([q @ k.mT + bias, column], -1)
    scores = scores - scores.amax(-1, keepdim=True)
    return scores.softmax(-1)[..., :-1] @ v


def test_sinks_take_one_loop_over_the_keys() -> None:
    args = (*qkv(4, 133), torch.zeros(4), torch.zeros(7, 133))
    canonical = optimize(graph_of(_sinks, *args).candidate.subgraph)
    row = PORTABLE
    lir = run_pipeline(pipeline(row), canonical, until="FuseOnline")
    assert sum(isinstance(s, Loop) and s.axis == "n" for s, _ in lir.walk()) == 1


def test_sinks_and_rows_without_any_key() -> None:
    inf, lowest = float("inf"), torch.finfo(torch.float32).min
    bias = torch.zeros(7, 133)
    bias[0], bias[1], bias[2, 5], bias[3, :100], bias[4, 7] = -inf, lowest, float("nan"), -inf, inf
    args = (*qkv(4, 133), torch.tensor([0.0, -inf, inf, 60.0]), bias)
    result = _run(_sinks, *args)
    with torch.no_grad():
        torch.testing.assert_close(result, _sinks(*args), atol=2e-6, rtol=1e-5, equal_nan=True)


def _quantize(x: Tensor, scale: float, zero: int) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)


def _quantized_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _quantize(_quantize(q @ k.mT, 0.25, 2).softmax(-1), 1 / 127, -3) @ v


def test_fake_quantization_rounds_as_eager_does() -> None:
    """Products of eighths are exact, and so are ties of a quarter: every rounding must agree."""
    random = torch.Generator().manual_seed(0)
    q = torch.randint(-20, 20, (2, 3, 7, 8), generator=random) / 8
    k = torch.randint(-20, 20, (2, 3, 37, 8), generator=random) / 8
    v = torch.eye(37)[:, :32].expand(2, 3, 37, 32)
    result = _run(_quantized_scores, q, k, v)
    expected = _quantized_scores(q, k, v)
    # A probability may differ by a rounding error, and then by one level if it is next to a tie.
    levels = ((result - expected) * 127).round()
    assert (levels != 0).float().mean() < 0.01
    torch.testing.assert_close(result, expected + levels / 127, atol=1e-6, rtol=0)
    weights = _quantize(q @ k.mT, 0.25, 2).softmax(-1)[..., :32]
    ties = ((weights * 127 * 2).round() - weights * 127 * 2).abs() < 1e-3
    assert not (levels != 0)[~ties].any()


def test_fake_quantization_of_special_values() -> None:
    bias = torch.zeros(7, 9)
    bias[0, 1], bias[1, 2], bias[2], bias[3, 0] = float("nan"), float("inf"), -float("inf"), 1e30

    def special(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return _quantize(q @ k.mT + bias, 0.05, 2).softmax(-1) @ v

    args = (*qkv(4, 9), bias)
    torch.testing.assert_close(_run(special, *args), special(*args), atol=1e-5, rtol=1e-4)


def test_rows_normalized_over_another_dim_stay_right() -> None:
    def over_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(2) @ v

    args = qkv()
    _equal(_run(over_rows, *args, subgraphs=0), over_rows, *args)


def _traces(model: Callable[..., Any], *args: Tensor) -> bool:
    """Whether Dynamo can trace a model at all."""
    torch._dynamo.reset()
    try:
        torch.compile(model, backend="eager", dynamic=True)(*args)
    except torch._dynamo.exc.TorchRuntimeError:
        return False
    return True


def test_transforms_of_torch_func_are_refused() -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1) @ v

    def mapped(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.func.vmap(attention)(q, k, v)

    def gradient(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.func.grad(lambda x: attention(x, k, v).square().sum())(q)

    for model in (mapped, gradient):
        if not _traces(model, *qkv()):
            continue  # vmap, by torch 2.11
        torch.testing.assert_close(_run(model, *qkv(), subgraphs=0), model(*qkv()))
        (refusal,) = snipjit.stats().refusals
        assert "is inside torch.func.vmap, grad or jvp; accepted" in refusal.reason


def test_modes_around_and_inside() -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.softmax(q @ k.mT, -1) @ v

    def modes(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with torch.inference_mode():
            first = attention(q, k, v)
        with torch.no_grad():
            return first + attention(q, k + 1, v)

    _equal(_run(modes, *qkv(), subgraphs=2), modes, *qkv())


def _checkpointed(q: Tensor, k: Tensor, v: Tensor) -> Any:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.softmax(q @ k.mT, -1) @ v

    once = checkpoint(attention, q, k, v, use_reentrant=False)
    return once + checkpoint(attention, q, k + 1, v, use_reentrant=False)


def test_checkpoints() -> None:
    _equal(_run(_checkpointed, *qkv(), subgraphs=2), _checkpointed, *qkv())
    assert len(snipjit.explain(_checkpointed, *qkv()).subgraphs) == 2


def test_gradients_through_checkpoints_stay_with_one_warning() -> None:
    torch._dynamo.reset()
    snipjit.reset_stats()
    expected, results = ([t.requires_grad_() for t in qkv()] for _ in range(2))
    torch.autograd.backward(_checkpointed(*expected).square().sum())
    compiled = torch.compile(_checkpointed, backend="snipjit", dynamic=True)
    with pytest.warns(UserWarning, match=r"use torch.no_grad\(\)"):
        torch.autograd.backward(compiled(*results).square().sum())
    assert snipjit.stats().subgraphs == 0
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


# Biases without rows: a value for each head or batch, used in every block of keys.


def _biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Grouped heads [B, G, R, S, D], keys of G heads."""
    scores = torch.einsum("bgrqd,bgkd->bgrqk", q, k) + bias
    return torch.softmax(scores, -1) @ v[:, :, None]


def _multi_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, queries [B, S, H, D] with heads inside rows, as in GPTBigCode."""
    batch, rows, heads, size = q.shape
    scores = torch.bmm(q.reshape(batch, rows * heads, size), k.mT)
    seen = torch.ones(rows, rows, dtype=torch.bool).tril()[None, :, None]
    weights = torch.where(seen, scores.view(batch, rows, heads, rows), -1e9).softmax(-1)
    return torch.bmm(weights.view(batch, rows * heads, rows), v)


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 3, 1), (2, 3, 1), (2, 3, 4)])
def test_biases_without_rows(shape: tuple[int, int, int], rows: int) -> None:
    batch, groups, repeats = shape
    q = torch.randn(2, 3, 4, rows, 16)
    k, v = torch.randn(2, 2, 3, 9, 16) / 4
    bias = torch.randn(batch, groups, repeats, 1, 1)
    _equal(_run(_biased, q, k, v, bias, dynamic=False), _biased, q, k, v, bias)


def test_one_query_one_key_and_a_mask() -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)

    q, (k, v) = torch.randn(1, 4, 1, 16), torch.randn(2, 1, 2, 1, 16)
    for mask in (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)):
        _equal(_run(attend, q, k, v, mask, dynamic=False), attend, q, k, v, mask)


@pytest.mark.parametrize("rows", [2, 13, 50])
def test_heads_inside_rows(rows: int) -> None:
    q = torch.randn(2, rows, 4, 16)
    k, v = torch.randn(2, 2, rows, 16)
    _equal(_run(_multi_query, q, k, v, dynamic=False), _multi_query, q, k, v)


def _window_masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Swin: scores [B * windows, H, N, N], a mask [windows, N, N]."""
    windows, size, _ = mask.shape
    scores = (q @ k.mT).view(-1, windows, q.shape[1], size, size) + mask[None, :, None]
    return scores.view(-1, q.shape[1], size, size).softmax(-1) @ v


@pytest.mark.parametrize(("batch", "windows"), [(1, 1), (1, 4), (2, 1), (2, 4)])
def test_masks_of_windows(batch: int, windows: int) -> None:
    q, k, v = torch.randn(3, batch * windows, 3, 16, 32)
    # The form has no scale; scores of some tens would have other roundings.
    inputs = (q * 32**-0.5, k, v, torch.randn(windows, 16, 16))
    _equal(_run(_window_masked, *inputs, dynamic=False), _window_masked, *inputs)


# Heads folded into the batch, and keys along two axes.


def _folded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Grouped heads, repeated and folded into one batch dim for ``bmm``."""
    batch, heads, rows, size = q.shape
    k, v = (
        x[:, :, None].expand(-1, -1, heads // k.shape[1], -1, -1).reshape(batch * heads, -1, size)
        for x in (k, v)
    )
    weights = torch.bmm(q.reshape(batch * heads, rows, size), k.mT).softmax(-1)
    return torch.bmm(weights, v).view(batch, heads, rows, size)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("heads", [(4, 2), (4, 1), (4, 4), (6, 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_heads_folded_into_the_batch(batch: int, heads: tuple[int, int], dynamic: bool) -> None:
    q = torch.randn(batch, heads[0], 7, 16)
    k, v = torch.randn(2, batch, heads[1], 9, 16)
    _equal(_run(_folded, q, k, v, dynamic=dynamic), _folded, q, k, v)


def _pixels(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Images [B, C, H, W], as in the autoencoders of diffusion models."""
    q, k, v = (x.flatten(2).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("dynamic", [False, True])
def test_keys_along_two_axes(dynamic: bool) -> None:
    q, k, v = torch.randn(3, 2, 16, 7, 9)
    _equal(_run(_pixels, q, k, v, dynamic=dynamic), _pixels, q, k, v)


# What a random search has found.


def _written_copy_of_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT
    changed = scores.clone()
    changed[:, 0] = -1.0
    return torch.softmax(changed, -1) @ v + scores.sum(-1, keepdim=True)


def _written_copy_of_weights(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.softmax(q @ k.mT, -1)
    changed = weights.clone()
    changed[:, :, 0] = 0
    return changed @ v + weights.amax(-1, keepdim=True)


@pytest.mark.parametrize("model", [_written_copy_of_scores, _written_copy_of_weights])
def test_a_copy_that_is_written_beside_what_it_copies(model: Callable[..., Tensor]) -> None:
    q, (k, v) = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 2, 7, 4)
    torch._dynamo.reset()
    with torch.no_grad():
        _equal(torch.compile(model, backend="snipjit")(q, k, v), model, q, k, v)


def _scaled_twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT * 0.5
    return torch.softmax(scores * 0.3, -1) @ v + torch.logsumexp(scores, -1, keepdim=True)


def test_scaled_scores_that_are_scaled_again() -> None:
    q, k, v = torch.randn(3, 2, 2, 9, 16)
    _equal(_run(_scaled_twice, q, k, v, dynamic=False), _scaled_twice, q, k, v)


def _bias_first(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    v = v.view(*v.shape[:-1], 1, v.shape[-1]).transpose(1, 2)
    return (bias + q @ k.mT).softmax(-1) @ v


def test_a_bias_that_comes_first_and_has_sizes_of_1() -> None:
    inputs = (torch.randn(2, 1, 5, 4), torch.randn(2, 1, 7, 4), torch.randn(2, 7, 4))
    bias = torch.randn(2, 1, 5, 7)
    _equal(_run(_bias_first, *inputs, bias, dynamic=False), _bias_first, *inputs, bias)


def _rolled_back(q: Tensor, k: Tensor, v: Tensor, start: Tensor, hidden: Tensor) -> Tensor:
    """The first mask is no sum of indices that float32 holds; the second has a large fill."""
    rows, columns = torch.arange(q.shape[-2]), torch.arange(k.shape[-2]) + start
    scores = q @ k.mT + torch.where(columns <= rows[:, None], 0, -(10**7)).float()
    return scores.masked_fill(hidden, -1e9).softmax(-1) @ v


def test_masks_that_are_given_up_leave_nothing_behind() -> None:
    q, k, v = torch.randn(3, 1, 2, 40, 16)
    hidden = (torch.rand(40, 40) < 0.3) & (torch.arange(40) > 0)
    inputs = (q, k, v, torch.tensor(0), hidden)
    _equal(_run(_rolled_back, *inputs, dynamic=False), _rolled_back, *inputs)
