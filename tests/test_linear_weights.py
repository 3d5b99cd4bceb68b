"""Linear layers whose weights are no plain tensors, or are not the model's own at every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import snipjit

OPTIONS: dict[str, Any] = {"fuse": ("attention", "linear")}


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


class Mlp(nn.Module):
    """Three layers: ``a`` and ``b`` are what tests change, ``c`` is as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.a: nn.Module = nn.Linear(24, 40)
        self.b: nn.Module = nn.Linear(40, 24)
        self.c = nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.c(x + self.b(F.gelu(self.a(x))))
        return found


def model() -> Mlp:
    torch.manual_seed(0)
    return Mlp().eval()


def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, length, 24, generator=generator) for length in (9, 4)]


def compare(compiled: Callable[[Tensor], Any], module: nn.Module) -> None:
    """Results are those of eager."""
    with torch.no_grad():
        for x in inputs():
            torch.testing.assert_close(compiled(x), module(x), rtol=2e-5, atol=4e-6)


def check(module: nn.Module, kernels: int, reason: str = "", refused: int = 0) -> None:
    """A compiled module is like eager, has some kernels, and refusals with a reason."""
    compare(torch.compile(module, backend="snipjit", dynamic=True, options=OPTIONS), module)
    stats = snipjit.stats()
    assert stats.subgraphs == kernels, stats.refusals
    assert len(stats.refusals) == refused
    assert all(reason in refusal.reason for refusal in stats.refusals)


# Subclasses of torch.Tensor.


class Quantized(Tensor):
    """Eight bits and a scale, which every operation but a copy makes floats of."""

    bits: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, bits: Tensor, scale: Tensor) -> Any:
        make: Any = Tensor._make_wrapper_subclass
        made = make(cls, bits.shape, strides=bits.stride(), dtype=torch.float32)
        made.bits, made.scale = bits, scale
        return made

    @staticmethod
    def of(weight: Tensor) -> Any:
        scale = weight.detach().abs().amax(1, keepdim=True) / 127
        return Quantized((weight.detach() / scale).round().to(torch.int8), scale)

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["bits", "scale"], None

    @staticmethod
    def __tensor_unflatten__(parts: dict[str, Tensor], _: Any, size: Any, stride: Any) -> Any:
        return Quantized(parts["bits"], parts["scale"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return Quantized(args[0].bits, args[0].scale)

        def floats(value: Any) -> Any:
            return value.bits * value.scale if isinstance(value, Quantized) else value

        return function(*tree_map(floats, args), **tree_map(floats, kwargs or {}))


class Doubled(Tensor):
    """Multiplies as if it were twice as large."""

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is F.linear:
            x, weight, *bias = args
            return F.linear(x, weight.as_subclass(Tensor) * 2, *bias)
        usual: Any = super().__torch_function__
        return usual(function, types, args, kwargs or {})


def test_weights_of_a_subclass_stay() -> None:
    module: Any = model()
    for layer in (module.a, module.b):
        layer.weight = nn.Parameter(Quantized.of(layer.weight), requires_grad=False)
    check(module, 1, "is a Quantized, a subclass of torch.Tensor", refused=2)


def test_programs_hold_what_a_subclass_holds() -> None:
    """torch.export writes out what the subclass does with each operation."""
    module: Any = model()
    module.a.weight = nn.Parameter(Quantized.of(module.a.weight), requires_grad=False)
    compare(snipjit.compile(module, tuple(inputs()[:1]), options=OPTIONS), module)


def test_a_weight_that_means_something_else() -> None:
    """Dynamo traces what the class makes of the function."""
    module: Any = model()
    module.a.weight = nn.Parameter(module.a.weight.detach().as_subclass(Doubled), False)
    compare(torch.compile(module, backend="snipjit", options=OPTIONS), module)


@pytest.mark.parametrize("name", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_quantized_by_torchao(name: str) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    module = model()
    config = getattr(quantization, name)()
    quantization.quantize_(module, config, filter_fn=lambda _, path: path in ("a", "b"))
    check(module, 1, "a subclass of torch.Tensor", refused=2)


# Adapters.


class Lora(nn.Module):
    """A layer with an adapter of low rank beside it, which can be merged into its weight."""

    def __init__(self, base: nn.Linear, rank: int = 4, scaling: float = 2.0) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.scaling = scaling
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x)
        if not self.merged:
            result = result + self.lora_b(self.lora_a(self.dropout(x))) * self.scaling
        return result

    def merge(self, merged: bool = True) -> None:
        """Put the adapter into the weight, or take it out again."""
        step = self.lora_b.weight @ self.lora_a.weight * self.scaling
        self.base.weight.data += step if merged else -step
        self.merged = merged


def test_adapters() -> None:
    module: Any = model()
    module.a, module.b = Lora(module.a).eval(), Lora(module.b).eval()
    check(module, 7)
    compiled = torch.compile(module, backend="snipjit", dynamic=True, options=OPTIONS)
    for merged in (True, False):
        module.a.merge(merged)
        compare(compiled, module)
        module.b.merge(merged)
        compare(compiled, module)
    assert not snipjit.stats().refusals


def test_adapters_of_a_program() -> None:
    module: Any = model()
    module.a = Lora(module.a).eval()
    compare(snipjit.compile(module, tuple(inputs()[:1]), options=OPTIONS), module)
    assert snipjit.stats().subgraphs == 5


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["lora", "dora"])
def test_adapters_of_peft(options: dict[str, bool]) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["a", "b"], init_lora_weights=False, **options)
    module = peft.get_peft_model(model(), config).eval()
    compiled = torch.compile(module, backend="snipjit", dynamic=True, options=OPTIONS)
    compare(compiled, module)
    module.merge_adapter()
    compare(compiled, module)
    module.unmerge_adapter()
    compare(compiled, module)
    assert snipjit.stats().subgraphs
    assert not snipjit.stats().refusals


# Weights in parts.


def test_tensor_parallel_layers_stay(mesh: Any) -> None:
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    module = parallelize_module(model(), mesh, {"a": ColwiseParallel(), "b": RowwiseParallel()})
    check(module, 1, "is a DTensor, a subclass of torch.Tensor", refused=2)


def test_sharded_layers(mesh: Any) -> None:
    """They are whole when they are called."""
    fsdp: Any = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this torch has no fully_shard")
    module = model()
    fsdp.fully_shard(module.a, mesh=mesh)
    fsdp.fully_shard(module, mesh=mesh)
    compare(torch.compile(module, backend="snipjit", dynamic=True, options=OPTIONS), module)


# Weights and results that functions compute.


@pytest.mark.parametrize(("norm", "kernels"), [("weight_norm", 2), ("spectral_norm", 3)])
def test_computed_weights_stay(norm: str, kernels: int) -> None:
    """The size by which a spectral norm divides is a product of the weight and a vector."""
    module = model()
    getattr(nn.utils.parametrizations, norm)(module.a)
    check(module, kernels)


def test_computed_weights_of_convolutions_stay() -> None:
    norm: Any = nn.utils.parametrizations.weight_norm
    module = norm(nn.Conv1d(9, 5, 1)).eval()
    compiled: Any = torch.compile(module, backend="snipjit", options=OPTIONS)
    x = torch.randn(2, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), module(x))
    assert snipjit.stats().subgraphs == 0


def test_hooks_are_part_of_the_graph() -> None:
    module = model()
    module.a.register_forward_hook(lambda layer, args, output: output * 2)
    module.b.register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    check(module, 3)


def _halve(layer: Any) -> None:
    layer.weight.mul_(0.5)


def test_a_hook_that_changes_the_weight() -> None:
    """Written to in each call, before it is read."""
    module: Any = model()
    module.a.register_forward_pre_hook(lambda layer, args: _halve(layer))
    twin: Any = model()
    compiled: Any = torch.compile(module, backend="snipjit", options=OPTIONS)
    with torch.no_grad():
        for x in inputs():
            twin.a.weight.mul_(0.5)
            torch.testing.assert_close(compiled(x), twin(x), rtol=2e-5, atol=4e-6)
