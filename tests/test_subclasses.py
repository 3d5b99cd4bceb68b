"""Subclasses of torch.Tensor stay with PyTorch, with the reason; what they unwrap to is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import snipjit
from snipjit.errors import InputError


class Wrapper(Tensor):
    """Holds another tensor, on which operations act."""

    held: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Any:
        make: Any = Tensor._make_wrapper_subclass
        made = make(cls, inner.shape, strides=inner.stride(), dtype=inner.dtype)
        made.held = inner
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(parts: dict[str, Tensor], _: Any, size: Any, stride: Any) -> Any:
        return Wrapper(parts["held"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def unwrapped(value: Any) -> Any:
            return value.held if isinstance(value, Wrapper) else value

        result = function(*tree_map(unwrapped, args), **tree_map(unwrapped, kwargs or {}))
        return tree_map(lambda x: Wrapper(x) if isinstance(x, Tensor) else x, result)


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).softmax(-1) @ v


def compiled(model: Callable[..., Any], *args: Any) -> Any:
    with torch.no_grad():
        return torch.compile(model, backend="snipjit", dynamic=True)(*args)


@pytest.mark.parametrize("wrapped", ["q", "k", "v", "qkv"])
def test_wrappers_are_refused(wrapped: str) -> None:
    tensors = dict(zip("qkv", torch.randn(3, 2, 3, 9, 16), strict=True))
    given = [Wrapper(t) if name in wrapped else t for name, t in tensors.items()]
    torch.testing.assert_close(compiled(attend, *given).held, attend(**tensors))
    stats = snipjit.stats()
    assert stats.subgraphs == 0
    assert "is a Wrapper, a subclass of torch.Tensor" in stats.refusals[0].reason


def test_a_number_of_a_subclass_is_refused() -> None:
    q, scale = torch.randn(2, 3, 9, 16), Wrapper(torch.tensor(0.3))
    found = compiled(lambda q, s: (q @ q.mT * s).softmax(-1) @ q, q, scale)
    torch.testing.assert_close(found.held, (q @ q.mT * 0.3).softmax(-1) @ q)
    assert snipjit.stats().subgraphs == 0


class Attention(nn.Module):
    """Projections whose weights may be of another class."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(32, 96)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        return attend(q, k, v)


def hooked(layer: nn.Linear) -> None:
    layer.register_forward_hook(lambda module, args, output: output * 2)


def normed(layer: nn.Linear) -> None:
    nn.utils.parametrizations.weight_norm(layer)


@pytest.mark.parametrize("change", [hooked, normed])
def test_hooks_and_parametrizations_are_part_of_the_graph(
    change: Callable[[nn.Linear], None],
) -> None:
    """Dynamo traces them: attention reads what they make of the weights."""
    model, x = Attention().eval(), torch.randn(2, 9, 32)
    change(model.project)
    torch.testing.assert_close(compiled(model, x), model(x))
    assert snipjit.stats().subgraphs == 1


def test_parameters_and_buffers_are_plain() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = nn.Parameter(torch.randn(1, 3, 9, 16))
            self.v = nn.Buffer(torch.randn(1, 3, 9, 16))

        def forward(self, q: Tensor) -> Tensor:
            return attend(q, self.k, self.v)

    model, q = Own(), torch.randn(1, 3, 9, 16)
    torch.testing.assert_close(compiled(model, q), model(q))
    assert snipjit.stats().subgraphs == 1


def test_programs_take_plain_tensors() -> None:
    q = torch.randn(2, 3, 9, 16)
    program = snipjit.compile(attend, (q, q * 1, q * 2))
    with pytest.raises(InputError, match="input 'k' is a Wrapper: pass a plain tensor"):
        program(q, Wrapper(q), q)


def test_programs_take_subclasses_that_are_memory_with_a_name() -> None:
    """As torchvision's images are."""

    class Named(Tensor):
        pass

    q = torch.randn(2, 3, 9, 16)
    program = snipjit.compile(attend, (q, q * 1, q * 2))
    torch.testing.assert_close(program(q, q.as_subclass(Named), q), attend(q, q, q))


def test_distributed_tensors(mesh: Any) -> None:
    """As they are they stay with PyTorch; their local parts are plain."""
    from torch.distributed.tensor import DTensor, Replicate

    q = torch.randn(2, 3, 9, 16)
    spread = DTensor.from_local(q, mesh, [Replicate()])

    def local(x: Any) -> Tensor:
        part = x.to_local()
        return attend(part, part, part)

    torch.testing.assert_close(compiled(attend, *[spread] * 3).to_local(), attend(q, q, q))
    stats = snipjit.stats()
    assert stats.subgraphs == 0
    assert "DTensor" in stats.refusals[0].reason
    torch.testing.assert_close(compiled(local, spread), attend(q, q, q))
    assert snipjit.stats().subgraphs == 1


def test_a_tensor_parallel_module(mesh: Any) -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    model, x = Attention().eval(), torch.randn(2, 9, 32)
    expected = model(x)
    parallelize_module(model, mesh, {"project": ColwiseParallel()})
    torch.testing.assert_close(compiled(model, x), expected)
    assert snipjit.stats().subgraphs == 1
