"""A family: one model with random weights, and the inputs that it is run with, a case each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.precisions import F32, Precision

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Family:
    """A model and its cases.

    build    the module in eval mode, with attention written out where it has that form; it takes
             tensors by position
    cases    what makes the inputs, by name; the first one is what compilers see first
    to_sdpa  turns a copy of the module to ``F.scaled_dot_product_attention``; None where that is
             its only form
    in_mean  whether its cases count in the geometric means
    """

    name: str
    build: Callable[[], nn.Module]
    cases: Mapping[str, Callable[[], Inputs]]
    to_sdpa: Callable[[nn.Module], None] | None = None
    in_mean: bool = True

    def only(self, names: Sequence[str]) -> Family:
        """The same model with some of its cases."""
        cases = {name: make for name, make in self.cases.items() if name in names}
        return Family(self.name, self.build, cases, self.to_sdpa, self.in_mean)


class Forms:
    """The forms of a model, with the same weights in the same memory."""

    def __init__(self, family: Family, precision: Precision = F32) -> None:
        torch.manual_seed(0)
        self.family, self.precision = family, precision
        with torch.inference_mode(False):  # else versions of weights are not counted
            self.eager = family.build().eval().requires_grad_(False).to(precision.dtype)

    @cached_property
    def exact(self) -> Callable[..., Any]:
        """The model in f32, the weights of its own type: what results are held against."""
        if self.precision is F32:
            return self.eager
        return lambda *tensors: self.wide(*map(widened, tensors))

    @cached_property
    def wide(self) -> nn.Module:
        """The eager form in f32, the same module if it is."""
        return self.eager if self.precision is F32 else deepcopy(self.eager).float()

    @cached_property
    def wide_sdpa(self) -> nn.Module:
        """The form with SDPA in f32."""
        if self.sdpa is self.eager:
            return self.wide
        return self.sdpa if self.precision is F32 else deepcopy(self.sdpa).float()

    def inputs(self) -> list[Inputs]:
        """The inputs of every case, floats in the model's type."""
        return [tuple(map(self._converted, make())) for make in self.family.cases.values()]

    def _converted(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or self.precision is F32:
            return tensor
        return fixed(tensor.to(self.precision.dtype), *static_dims(tensor))

    @cached_property
    def sdpa(self) -> nn.Module:
        """With ``F.scaled_dot_product_attention``: the same module where that is its only form."""
        if self.family.to_sdpa is None:
            return self.eager
        copy = sharing_copy(self.eager)
        self.family.to_sdpa(copy)
        return copy


def sharing_copy(module: nn.Module) -> nn.Module:
    """A copy of a module that reads the same parameters and buffers."""
    kept = chain(module.parameters(), module.buffers())
    return deepcopy(module, {id(tensor): tensor for tensor in kept})


@dataclass(frozen=True)
class Work:
    """What the linear layers of one call do: operations, and bytes of weights that are read."""

    flops: int
    weights: int


def linear_work(model: nn.Module, inputs: Inputs) -> Work:
    """The work of every ``nn.Linear`` in a call."""
    flops, read = 0, dict[int, int]()

    def note(layer: nn.Module, given: tuple[Any, ...], result: Tensor) -> None:
        nonlocal flops
        weight = layer.weight
        assert isinstance(weight, Tensor)
        flops += 2 * result.numel() * weight.shape[1]
        read[id(weight)] = weight.nbytes

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(flops, sum(read.values()))


def fixed(tensor: Tensor, *dims: int) -> Tensor:
    """The tensor, some of its sizes marked as parts of the model: compilers may build them in."""
    torch._dynamo.mark_static(tensor, list(dims))
    return tensor


def widened(tensor: Tensor) -> Tensor:
    """An input in f32, if it holds floats."""
    if not tensor.is_floating_point() or tensor.dtype == torch.float32:
        return tensor
    return fixed(tensor.float(), *static_dims(tensor))


def static_dims(tensor: Tensor) -> set[int]:
    """The dims of an input that are marked so."""
    marked: set[int] = getattr(tensor, "_dynamo_static_indices", set())
    return marked


def dynamic_dims(tensor: Tensor) -> list[int]:
    """What a program of the model must not build in; sizes of 1 it would."""
    static = static_dims(tensor)
    return [dim for dim, size in enumerate(tensor.shape) if dim not in static and size > 1]


def largest(sets: Sequence[Inputs]) -> Inputs:
    """The inputs with the most numbers: what exports are made with, as they build in sizes of 1."""
    return max(sets, key=lambda inputs: sum(tensor.numel() for tensor in inputs))


def noise(*shape: int) -> Tensor:
    """Random numbers, the same for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
