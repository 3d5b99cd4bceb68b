"""PyTorch's attention modules: found in every calling form, and equal to eager."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

import snipjit
from snipjit.errors import InputError
from snipjit.frontend.options import Options
from snipjit.frontend.torch_backend import fuse
from snipjit.passes.fx import tokenize
from snipjit.passes.fx.patterns.attention import Attention
from tests.passes.fx.attention_modules import (
    ATTENTIONS,
    LAYERS,
    Form,
    attention,
    fast_path,
    layer,
    padding,
    random,
)
from tests.passes.fx.support import graph_of

FORMS = {form.name: form for form in (*ATTENTIONS, *LAYERS)}
SIZES = ((2, 5, 3), (3, 7, 4))
"""Batch, rows and columns."""

Backend = Callable[[fx.GraphModule, Sequence[Any]], Callable[..., Any]]


def _call(function: Callable[..., Any], form: Form, sizes: tuple[int, int, int]) -> Any:
    inputs, masks = form.inputs(*sizes)
    return function(*inputs, **masks, **form.options)


def _equal(result: Any, expected: Any) -> None:
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-4, equal_nan=True)


def _compare(form: Form, backend: Backend | str, sizes: Sequence[tuple[int, int, int]]) -> None:
    """A compiled form gives what eager gives at several sizes."""
    module = form.build()
    torch._dynamo.reset()
    with torch.inference_mode(), fast_path(form.fast):
        compiled = torch.compile(module, backend=backend, dynamic=True, fullgraph=True)
        for size in sizes:
            _equal(_call(compiled, form, size), _call(module, form, size))


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.name)
def test_open_graph(form: Form) -> None:
    """Opened graphs compute what the modules do, for all sizes, and every attention is found."""
    found: list[int] = []

    def backend(gm: fx.GraphModule, _: Sequence[Any]) -> Callable[..., Any]:
        tokens = tokenize(gm, [Attention()])
        assert not tokens.refusals
        found.append(len(tokens.candidates))
        gm.recompile()
        return gm.forward

    _compare(form, backend, SIZES)
    assert found == [form.fused]


@pytest.mark.parametrize(
    "name",
    ["masked_and_padded", "causal", "other_sizes", "weights", "weights_of_heads", "layer_added"],
)
def test_compiled(name: str) -> None:
    form = FORMS[name]
    snipjit.reset_stats()
    _compare(form, "snipjit", SIZES)
    stats = snipjit.stats()
    assert not stats.refusals
    assert stats.subgraphs == form.fused
    assert stats.kernel_calls == len(SIZES) * form.fused


def test_compiled_batch_of_one() -> None:
    snipjit.reset_stats()
    _compare(FORMS["layer_masked_and_padded"], "snipjit", [(1, 6, 0), *SIZES])
    assert not snipjit.stats().refusals
    assert snipjit.stats().kernel_calls == 3


@pytest.mark.long
@pytest.mark.parametrize("name", ["masked", "weights", "layer_masked_and_padded"])
def test_exported(name: str) -> None:
    form = FORMS[name]
    module = form.build()
    snipjit.reset_stats()
    # An exporter traces the slow path; it differs from the fast one in rows that see nothing.
    with torch.inference_mode(), fast_path(False):
        inputs, masks = form.inputs(*SIZES[0])
        program = snipjit.compile(module, inputs, {**masks, **form.options})
        for sizes in SIZES:
            _equal(_call(program, form, sizes), _call(module, form, sizes))
    assert snipjit.stats().subgraphs == form.fused
    assert not snipjit.stats().refusals
    if "need_weights" in form.options:
        with pytest.raises(InputError, match="the program was exported for False"):
            program(*inputs, **masks, need_weights=True)


@pytest.mark.long
def test_strictly_exported() -> None:
    """The layer arrives as one ATen operation."""
    form = FORMS["layer_padded"]
    module = form.build()
    inputs, masks = form.inputs(*SIZES[0])
    dims = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    shapes = {"src": dims, "src_key_padding_mask": dims}
    with torch.no_grad():
        exported = torch.export.export(module, inputs, masks, dynamic_shapes=shapes, strict=True)
    assert any("encoder_layer_fwd" in node.name for node in exported.graph.nodes)
    snipjit.reset_stats()
    program = snipjit.compile(exported)
    with torch.no_grad():
        for sizes in SIZES:
            _equal(_call(program, form, sizes), _call(module, form, sizes))
    assert snipjit.stats().subgraphs == 1


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (attention(batch_first=True), {"need_weights": False}),
        (attention(batch_first=True), {}),
        (layer, {}),
    ],
    ids=["attention", "weights", "layer"],
)
def test_sequences_of_padding_only(
    module: Callable[[], nn.Module], options: dict[str, Any]
) -> None:
    """Rows that see nothing are zeros in SDPA, else NaN."""
    built, x = module().eval(), random(2, 5, 16)
    hides = padding(2, 5) | torch.tensor([[True], [False]])
    name = (
        "key_padding_mask" if options or "Multi" in type(built).__name__ else "src_key_padding_mask"
    )
    arguments = (x,) if name.startswith("src") else (x, x, x)
    results = []
    for backend in ("snipjit", "eager"):
        torch._dynamo.reset()
        with torch.inference_mode():
            compiled = torch.compile(built, backend=backend, dynamic=True)
            results.append(compiled(*arguments, **{name: hides}, **options))
    _equal(*results)


def _graph(module: nn.Module, *args: Any, grad: bool = False, **kwargs: Any) -> fx.GraphModule:
    """The graph of a module after fusing."""
    graphs: list[fx.GraphModule] = []

    def backend(gm: fx.GraphModule, _: Sequence[Any]) -> Callable[..., Any]:
        fuse(gm, Options())
        graphs.append(gm)
        return gm.forward

    torch._dynamo.reset()
    snipjit.reset_stats()
    with torch.set_grad_enabled(grad):
        torch.compile(module, backend=backend, dynamic=True)(*args, **kwargs)
    (graph,) = graphs
    return graph


def _targets(gm: fx.GraphModule) -> list[Any]:
    return [node.target for node in gm.graph.nodes if node.op.startswith("call")]


def test_fused_graph_has_no_rest_of_the_module() -> None:
    x = random(5, 2, 16)
    targets = _targets(_graph(attention()().eval(), x, x, x, need_weights=False))
    kernel = [target for target in targets if getattr(target, "__name__", "") == "call"]
    assert len(kernel) == 1
    assert [target for target in targets if target is not kernel[0]] == [
        F.linear,
        "unflatten",
        *["select"] * 3,
        F.linear,
    ]


@pytest.mark.parametrize("need_weights", [True, False])
def test_refused_attention_gets_its_module_back(need_weights: bool) -> None:
    x = random(5, 2, 16)
    with pytest.warns(UserWarning, match="requires grad"):
        gm = _graph(attention()(), x, x, x, grad=True, need_weights=need_weights)
    indices = [operator.getitem] * (1 + need_weights)
    assert _targets(gm) == ["item", F.multi_head_attention_forward, *indices]
    (refusal,) = snipjit.stats().refusals
    assert "use torch.no_grad()" in refusal.reason
    assert refusal.node.startswith("multi_head_attention_forward")


def _training(x: Tensor) -> Any:
    return nn.MultiheadAttention(16, 4, dropout=0.1)(x, x, x)


def _static_keys(x: Tensor) -> Any:
    weight, static = torch.ones(48, 16), torch.ones(8, 3, 4)
    fixed = (16, 4, weight, None, None, None, False, 0.0, torch.ones(16, 16), None, False)
    return F.multi_head_attention_forward(x, x, x, *fixed, static_k=static, static_v=static)


def _doubles(x: Tensor) -> Any:
    module = nn.MultiheadAttention(16, 4).double()
    return module(*[x.double()] * 3)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_training, r"drops weights in training; accepted: eval\(\) or dropout=0"),
        (_static_keys, "has a static_k; accepted: keys and values to project"),
        (_doubles, "is float64; accepted: float32, bfloat16, float16 and bool"),
    ],
)
def test_stays_closed(function: Callable[[Tensor], Any], reason: str) -> None:
    capture = graph_of(function, random(5, 2, 16))
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(capture.reason)
    assert F.multi_head_attention_forward in _targets(capture.gm)


def test_nested_tensors_stay_closed() -> None:
    graph = fx.Graph()
    source = graph.placeholder("source")
    source.meta["example_value"] = torch.nested.nested_tensor([random(3, 16), random(5, 16)])
    rest = ["example"] * 12
    node = graph.call_function(
        torch._transformer_encoder_layer_fwd, (source, 16, 4, *rest[:4], False, False, 1e-5, *rest)
    )
    node.meta["example_value"] = source.meta["example_value"]
    graph.output(node)
    (refusal,) = tokenize(fx.GraphModule(nn.Module(), graph), [Attention()]).refusals
    assert "is a nested tensor; accepted: padded tensors" in refusal.reason


def test_symbols_stay_symbols() -> None:
    """Sizes of the written nodes are as symbolic as those of the graph."""
    form = FORMS["weights_of_other_sizes"]
    inputs, masks = form.inputs(*SIZES[0])
    capture = graph_of(form.build(), *inputs, **masks)
    (output, weights) = capture.candidate.outputs
    for node in (output, weights):
        shape = node.meta["example_value"].shape
        assert sum(isinstance(size, torch.SymInt) for size in shape) >= 2, shape


@pytest.mark.parametrize(
    ("kind", "inside", "dtype"),
    [
        ("attention", False, torch.bfloat16),
        ("attention", True, torch.float16),
        ("layer", True, torch.bfloat16),
        ("layer", False, torch.float16),
    ],
)
def test_under_autocast(kind: str, inside: bool, dtype: torch.dtype) -> None:
    attend = nn.MultiheadAttention(48, 3, batch_first=True).eval()
    encode = nn.TransformerEncoderLayer(48, 3, 64, batch_first=True).eval()

    def call(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype, enabled=inside or torch.is_autocast_enabled("cpu")):
            result: Tensor = encode(x) if kind == "layer" else attend(x, x, x)[0]
            return result

    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(call, backend="snipjit", dynamic=True)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=not inside):
        for rows in (7, 13):
            x = torch.randn(2, rows, 48)
            result, expected = compiled(x), call(x)
            assert result.dtype == expected.dtype
            torch.testing.assert_close(result, expected, atol=3e-2, rtol=3e-2)
    assert snipjit.stats().subgraphs == 1


def test_autocast_around_a_checkpoint() -> None:
    attend = nn.MultiheadAttention(48, 3, batch_first=True).eval()

    def call(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            result: Tensor = checkpoint(attend, x, x, x, use_reentrant=False)[0]
            return result.float()

    x = torch.randn(2, 7, 48)
    torch._dynamo.reset()
    with torch.no_grad():
        result = torch.compile(call, backend="snipjit", dynamic=True)(x)
        torch.testing.assert_close(result, call(x), atol=3e-2, rtol=3e-2)
