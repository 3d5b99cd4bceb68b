"""Linear layers as models write them: forms, what they read, and how many kernels they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Form:
    """A function of parts and an input ``x``; ``L`` in its shape is a length that changes."""

    function: Callable[[Any, Tensor], Any]
    parts: Callable[[], dict[str, nn.Module | nn.Parameter]]
    shape: tuple[int | str, ...] = (2, "L", 24)
    kernels: int = 1

    def model(self) -> nn.Module:
        """The form as a module, in eval mode."""
        torch.manual_seed(0)
        return Written(self.function, self.parts()).eval()

    def input(self, length: int, seed: int = 0) -> Tensor:
        """An input of some length."""
        generator = torch.Generator().manual_seed(seed)
        sizes = [length if size == "L" else int(size) for size in self.shape]
        return torch.randn(sizes, generator=generator)


class Written(nn.Module):
    """A module that computes a function of its parts."""

    def __init__(
        self, function: Callable[..., Any], parts: dict[str, nn.Module | nn.Parameter]
    ) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def weight(*sizes: int) -> nn.Parameter:
    """A parameter of some size."""
    return nn.Parameter(torch.randn(*sizes) / sizes[-1] ** 0.5)


def _linear(inputs: int = 24, outputs: int = 40, bias: bool = True) -> Callable[[], Any]:
    return lambda: {"a": nn.Linear(inputs, outputs, bias)}


def _several(*outputs: int, inputs: int = 24) -> Callable[[], Any]:
    return lambda: {
        name: nn.Linear(inputs, size) for name, size in zip("abc", outputs, strict=False)
    }


def _weights(**sizes: tuple[int, ...]) -> Callable[[], Any]:
    return lambda: {name: weight(*size) for name, size in sizes.items()}


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _written_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def _chunks(m: Any, x: Tensor) -> Tensor:
    up, gate = m.a(x).chunk(2, -1)
    result: Tensor = up * F.gelu(gate)
    return result


SPELLINGS = {
    "linear": Form(lambda m, x: m.a(x), _linear()),
    "without a bias": Form(lambda m, x: m.a(x), _linear(bias=False)),
    "matmul": Form(lambda m, x: x @ m.w, _weights(w=(24, 40))),
    "t": Form(lambda m, x: x @ m.w.t(), _weights(w=(40, 24))),
    "mT": Form(lambda m, x: torch.matmul(x, m.w.mT), _weights(w=(40, 24))),
    "mm": Form(lambda m, x: torch.mm(x, m.w), _weights(w=(24, 40)), ("L", 24)),
    "addmm": Form(
        lambda m, x: torch.addmm(m.b, x.view(-1, 24), m.w).view(2, -1, 40),
        _weights(w=(24, 40), b=(40,)),
    ),
    "addmm, scaled": Form(
        lambda m, x: torch.addmm(m.b, x, m.w, beta=0.5, alpha=2.0),
        _weights(w=(24, 40), b=(40,)),
        ("L", 24),
    ),
    "einsum": Form(lambda m, x: torch.einsum("bsk,nk->bsn", x, m.w), _weights(w=(40, 24))),
    "einsum, kn": Form(lambda m, x: torch.einsum("...k,kn->...n", x, m.w), _weights(w=(24, 40))),
    "einsum, flipped": Form(lambda m, x: torch.einsum("nk,bsk->bns", m.w, x), _weights(w=(40, 24))),
    "from the left": Form(lambda m, x: m.w @ x, _weights(w=(40, 24)), (2, 24, "L")),
    "tensordot": Form(lambda m, x: torch.tensordot(x, m.w, dims=([-1], [1])), _weights(w=(40, 24))),
    "inner": Form(lambda m, x: torch.inner(x, m.w), _weights(w=(40, 24))),
}

SHAPES = {
    "one dim": Form(lambda m, x: m.a(x), _linear(), (24,)),
    "two dims": Form(lambda m, x: m.a(x), _linear(), ("L", 24)),
    "four dims": Form(lambda m, x: m.a(x), _linear(), (2, 3, "L", 24)),
    "five dims": Form(lambda m, x: m.a(x), _linear(), (2, 3, 1, "L", 24)),
    "two outputs": Form(lambda m, x: m.a(x), _linear(24, 2)),
    "one output": Form(lambda m, x: m.a(x), _linear(24, 1)),
    "one input": Form(lambda m, x: m.a(x), _linear(1, 40), (2, "L", 1)),
    "repeated": Form(lambda m, x: m.a(x[:, None].expand(-1, 3, -1, -1)), _linear()),
    "odd": Form(lambda m, x: m.a(x), _linear(77, 131), (2, "L", 77)),
    "long": Form(lambda m, x: m.a(x), _linear(1100, 50), ("L", 1100)),
    "rows of a weight": Form(lambda m, x: F.linear(x, m.w[:17]), _weights(w=(40, 24))),
    "columns of a weight": Form(
        lambda m, x: F.linear(x, m.w[:, 3:20]), _weights(w=(40, 24)), (2, "L", 17)
    ),
    "thirds of a weight": Form(
        lambda m, x: tuple(F.linear(x, w) for w in m.w.chunk(3)), _weights(w=(48, 24))
    ),
    "transposed input": Form(lambda m, x: m.a(x.transpose(1, 2)), _linear(), (2, 24, "L")),
    "batch inside": Form(lambda m, x: m.a(x.transpose(0, 1)), _linear(), ("L", 3, 24)),
    "rows of an input": Form(lambda m, x: m.a(x[:, 1:]), _linear(), (2, "L", 24)),
    "features of an input": Form(lambda m, x: m.a(x[..., 3:27]), _linear(), (2, "L", 48)),
}

CHAINS = {
    "gelu": Form(lambda m, x: F.gelu(m.a(x)), _linear()),
    "gelu, tanh": Form(lambda m, x: F.gelu(m.a(x), approximate="tanh"), _linear()),
    "gelu, written": Form(lambda m, x: _written_gelu(m.a(x)), _linear()),
    "quick gelu": Form(lambda m, x: _quick_gelu(m.a(x)), _linear()),
    "relu": Form(lambda m, x: F.relu(m.a(x)), _linear()),
    "relu in place": Form(lambda m, x: F.relu_(m.a(x)), _linear()),
    "silu": Form(lambda m, x: F.silu(m.a(x)), _linear()),
    "residual": Form(lambda m, x: x + m.a(x), _linear(24, 24)),
    "residual in place": Form(lambda m, x: m.a(x).add_(x), _linear(24, 24)),
    "layer scale": Form(
        lambda m, x: x + m.g * m.a(x), lambda: {"a": nn.Linear(24, 24), "g": weight(24)}
    ),
    "dropout": Form(lambda m, x: x + F.dropout(m.a(x), 0.1, m.training), _linear(24, 24)),
    "heads": Form(lambda m, x: m.a(x).view(2, -1, 4, 10).transpose(1, 2), _linear()),
    "chunk": Form(_chunks, _linear()),
    "unbind": Form(lambda m, x: m.a(x).view(2, -1, 3, 24).unbind(-2), _linear(24, 72)),
    "read twice": Form(lambda m, x: (lambda y: (y.sum(-1), F.relu(y)))(m.a(x)), _linear()),
}

SEVERAL = {
    "queries, keys, values": Form(lambda m, x: (m.a(x), m.b(x), m.c(x)), _several(40, 40, 40)),
    "fewer keys": Form(lambda m, x: (m.a(x), m.b(x), m.c(x)), _several(40, 16, 16), kernels=2),
    "gate": Form(lambda m, x: F.silu(m.a(x)) * m.b(x), _several(40, 40)),
    "mlp": Form(
        lambda m, x: x + m.b(F.gelu(m.a(x))),
        lambda: {"a": nn.Linear(24, 40), "b": nn.Linear(40, 24)},
        kernels=2,
    ),
    "tied": Form(lambda m, x: m.a(F.relu(m.a(x))), _linear(24, 24), kernels=2),
    "low rank": Form(
        lambda m, x: m.w(x) + (x @ m.a.t()) @ m.b.t() * 2,
        lambda: {"w": nn.Linear(24, 40), "a": weight(4, 24), "b": weight(40, 4)},
        kernels=3,
    ),
    "sum of what depends on it": Form(
        lambda m, x: (lambda y: m.b(x) + F.layer_norm(y, (40,)))(m.a(x)),
        _several(40, 40),
        kernels=1,
    ),
}


def _points(rank: int = 2, **options: Any) -> Callable[[], Any]:
    return lambda: {"a": getattr(nn, f"Conv{rank}d")(24, 40, 1, **options)}


def _channels_last() -> dict[str, Any]:
    made = nn.Conv2d(24, 40, 1)
    made.weight.data = made.weight.data.contiguous(memory_format=torch.channels_last)
    return {"a": made}


def _squeezed(m: Any, x: Tensor) -> Tensor:
    small = F.silu(m.a(F.adaptive_avg_pool2d(x, 1)))
    return x * torch.sigmoid(m.b(small))


CONVOLUTIONS = {
    "conv1d": Form(lambda m, x: m.a(x), _points(1), (2, 24, "L")),
    "conv1d of tokens": Form(
        lambda m, x: m.a(x.transpose(1, 2)).transpose(1, 2), _points(1), (2, "L", 24)
    ),
    "conv1d without a batch": Form(lambda m, x: m.a(x), _points(1), (24, "L")),
    "conv2d": Form(lambda m, x: m.a(x), _points(), (2, 24, "L", 7)),
    "conv2d without a bias": Form(lambda m, x: m.a(x), _points(bias=False), (2, 24, 5, "L")),
    "conv2d without a batch": Form(lambda m, x: m.a(x), _points(), (24, "L", "L")),
    "conv2d, same padding": Form(lambda m, x: m.a(x), _points(padding="same"), (2, 24, "L", 7)),
    "conv2d, channels last": Form(
        lambda m, x: F.relu(m.a(x.to(memory_format=torch.channels_last))),
        _points(),
        (2, 24, "L", 7),
    ),
    "conv2d of moved channels": Form(
        lambda m, x: m.a(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), _points(), (2, "L", 7, 24)
    ),
    "conv2d, weights channels last": Form(
        lambda m, x: m.a(x),
        _channels_last,
        (2, 24, "L", 7),
    ),
    "conv2d of a part": Form(lambda m, x: m.a(x[:, 1:, :, 2:]), _points(), (2, 25, "L", 7)),
    "conv2d, gelu": Form(lambda m, x: F.gelu(m.a(x)), _points(), (1, 24, "L", 7)),
    "conv2d of one channel": Form(
        lambda m, x: m.a(x), lambda: {"a": nn.Conv2d(1, 3, 1)}, (2, 1, "L", 7)
    ),
    "conv2d to tokens": Form(
        lambda m, x: m.a(x).flatten(2).transpose(1, 2), _points(), (2, 24, "L", 7)
    ),
    "conv2d, gate": Form(
        lambda m, x: m.a(x) * torch.sigmoid(m.b(x)),
        lambda: {"a": nn.Conv2d(24, 40, 1), "b": nn.Conv2d(24, 40, 1)},
        (2, 24, "L", 7),
    ),
    "conv2d, squeezed": Form(
        _squeezed,
        lambda: {"a": nn.Conv2d(24, 5, 1), "b": nn.Conv2d(5, 24, 1)},
        (2, 24, "L", 7),
        kernels=2,
    ),
    "conv3d": Form(lambda m, x: m.a(x), _points(3), (2, 24, 3, "L", 4)),
}


def _experts(*names: str, **more: tuple[int, ...]) -> Callable[[], Any]:
    """Stacks of 3 weights, [24, 40] each."""
    return _weights(**dict.fromkeys(names, (3, 24, 40)), **more)


def _looped(m: Any, x: Tensor) -> Tensor:
    return torch.stack([F.linear(part, w) for part, w in zip(x, m.w, strict=True)])


def _all_of_one(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    return tuple(F.linear(x, m.w[expert]) for expert in range(3))


STACKED = {
    "bmm": Form(lambda m, x: torch.bmm(x, m.w), _experts("w"), (3, "L", 24)),
    "operator": Form(lambda m, x: x @ m.w, _experts("w"), (3, "L", 24)),
    "transposed weights": Form(lambda m, x: x @ m.w.mT, _weights(w=(3, 40, 24)), (3, "L", 24)),
    "weights first": Form(lambda m, x: torch.bmm(m.w, x), _weights(w=(3, 40, 24)), (3, 24, "L")),
    "experts inside": Form(lambda m, x: x.transpose(0, 1) @ m.w, _experts("w"), ("L", 3, 24)),
    "baddbmm": Form(
        lambda m, x: torch.baddbmm(m.b, x, m.w), _experts("w", b=(3, 1, 40)), (3, "L", 24)
    ),
    "baddbmm, scaled": Form(
        lambda m, x: torch.baddbmm(m.b, x, m.w, beta=0.5, alpha=2.0),
        _experts("w", b=(3, 1, 40)),
        (3, "L", 24),
    ),
    "einsum of experts": Form(
        lambda m, x: torch.einsum("ebk,ekn->ebn", x, m.w), _experts("w"), (3, "L", 24)
    ),
    "einsum, experts inside": Form(
        lambda m, x: torch.einsum("bsek,enk->bsen", x, m.w),
        _weights(w=(3, 40, 24)),
        (2, "L", 3, 24),
    ),
    "einsum to heads": Form(
        lambda m, x: torch.einsum("bsk,hkd->bhsd", x, m.w), _experts("w"), (2, "L", 24)
    ),
    "einsum of heads": Form(
        lambda m, x: torch.einsum("bhsd,hdn->bsn", x, m.w), _experts("w"), (2, 3, "L", 24)
    ),
    "one input for all": Form(lambda m, x: x @ m.w, _experts("w"), ("L", 24)),
    "a batch for all": Form(lambda m, x: x[:, None] @ m.w, _experts("w"), (2, "L", 24)),
    "one bias": Form(lambda m, x: x @ m.w + m.b, _experts("w", b=(1, 1, 40)), (3, "L", 24)),
    "one weight": Form(lambda m, x: x @ m.w[:1] + m.b, _experts("w", b=(1, 1, 40)), (2, "L", 24)),
    "gate of experts": Form(
        lambda m, x: F.silu(x @ m.w + m.b) * (x @ m.v),
        _experts("w", "v", b=(3, 1, 40)),
        (3, "L", 24),
    ),
    "mlp of experts": Form(
        lambda m, x: x + F.gelu(x @ m.w) @ m.v,
        _experts("w", v=(3, 40, 24)),
        (3, "L", 24),
        kernels=2,
    ),
    "halves of experts": Form(
        lambda m, x: (lambda a, b: F.silu(a) * b)(*(x @ m.w).chunk(2, -1)),
        _experts("w"),
        (3, "L", 24),
    ),
    "loop": Form(_looped, _weights(w=(3, 40, 24)), (3, "L", 24), 3),
    "loop of one input": Form(_all_of_one, _weights(w=(3, 40, 24)), ("L", 24)),
}

FORMS = {**SPELLINGS, **SHAPES, **CHAINS, **SEVERAL, **CONVOLUTIONS, **STACKED}
