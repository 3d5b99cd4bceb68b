"""Weights of 8 bits as models dequantize them: forms, and what is near to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Any, Tensor], Any]


class Quantized(nn.Module):
    """Columns and features, integers ``w``, scales and zeros of tensor, channel and group."""

    def __init__(
        self,
        function: Function,
        dtype: torch.dtype = torch.float32,
        kind: torch.dtype = torch.int8,
        sizes: tuple[int, int] = (131, 96),
        group: int = 32,
    ) -> None:
        super().__init__()
        self.function, self.dtype, self.group = function, dtype, group
        self.n, self.k = sizes
        low = 0 if kind == torch.uint8 else -128
        generator = torch.Generator().manual_seed(0)

        whole = torch.int8 if kind.is_floating_point else kind

        def integers(*shape: int, low: int = low, high: int = low + 256) -> Tensor:
            return torch.randint(low, high, shape, dtype=whole, generator=generator)

        def scales(*shape: int) -> Tensor:
            return ((torch.rand(shape, generator=generator) + 0.5) / 512).to(dtype)

        groups = -(-self.k // group)
        tensors = {
            "w": integers(self.n, self.k).to(kind),
            "wt": integers(self.k, self.n).to(kind),
            "s1": scales(),
            "s": scales(self.n),
            "sg": scales(self.n, groups),
            "z1": integers(1, low=low + 100, high=low + 150)[0],
            "z": integers(self.n, low=low + 100, high=low + 150),
            "zg": integers(self.n, groups, low=low + 100, high=low + 150),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        if kind.is_floating_point:  # buffers of floats may be caches, which are not prepared
            delattr(self, "w")
            self.register_parameter("w", nn.Parameter(tensors["w"], requires_grad=False))
        self.bias = nn.Parameter(torch.randn(self.n, generator=generator).to(dtype))

    def input(self, rows: int) -> Tensor:
        """An input of so many rows."""
        return torch.randn(rows, self.k, generator=torch.Generator().manual_seed(rows)).to(
            self.dtype
        )

    def exact(self) -> Quantized:
        """The same in float64, of the same numbers."""
        return self.to(torch.float64).as_type(torch.float64)

    def as_type(self, dtype: torch.dtype) -> Quantized:
        """Itself, to compute in another type."""
        self.dtype = dtype
        return self

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def per_group(m: Any, less: Tensor | None = None) -> Tensor:
    """The weight of groups, less their zeros."""
    w = m.w.to(m.dtype).view(m.n, -1, m.group)
    w = w if less is None else w - less.unsqueeze(-1)
    weight: Tensor = (w * m.sg.unsqueeze(-1)).reshape(m.n, m.k)
    return weight


FORMS: dict[str, Function] = {
    "per tensor": lambda m, x: F.linear(x, m.w.to(x.dtype) * m.s1),
    "per tensor, a number": lambda m, x: F.linear(x, 0.003 * m.w.to(x.dtype), m.bias),
    "per tensor, divided": lambda m, x: F.linear(x, m.w.to(x.dtype) / 300),
    "per tensor, zero": lambda m, x: F.linear(x, (m.w.to(x.dtype) - m.z1) * m.s1, m.bias),
    "per tensor, zero a number": lambda m, x: F.linear(x, (m.w.to(x.dtype) - 12) * 0.01),
    "per tensor, converted last": lambda m, x: F.linear(x, (m.w.int() - m.z1).to(x.dtype) * m.s1),
    "per channel": lambda m, x: F.linear(x, m.w.to(x.dtype) * m.s[:, None], m.bias),
    "per channel, scale first": lambda m, x: F.linear(x, m.s.unsqueeze(1) * m.w.to(x.dtype)),
    "per channel, promoted": lambda m, x: F.linear(x, m.w * m.s[:, None]),
    "per channel, zero": lambda m, x: F.linear(
        x, (m.w.to(x.dtype) - m.z[:, None]) * m.s[:, None], m.bias
    ),
    "per channel, zero of 32 bits": lambda m, x: F.linear(
        x, (m.w.to(torch.int32) - m.z.to(torch.int32)[:, None]) * m.s[:, None]
    ),
    "per channel, zero added": lambda m, x: F.linear(
        x, m.w.to(x.dtype) * m.s[:, None] + (m.s * 3)[:, None]
    ),
    "per channel, behind": lambda m, x: F.linear(x, m.w.to(x.dtype)) * m.s,
    "per channel, behind, bias": lambda m, x: x @ m.w.to(x.dtype).t() * m.s + m.bias,
    "per channel, transposed": lambda m, x: x @ (m.w.to(x.dtype) * m.s[:, None]).t(),
    "per channel, of [k][n]": lambda m, x: x @ (m.wt.to(x.dtype) * m.s),
    "per feature": lambda m, x: F.linear(x, m.w.to(x.dtype) * m.sg[0].repeat_interleave(m.group)),
    "per group": lambda m, x: F.linear(x, per_group(m), m.bias),
    "per group, zero": lambda m, x: F.linear(x, per_group(m, m.zg), m.bias),
    "per group, repeated": lambda m, x: F.linear(
        x, m.w.to(x.dtype) * m.sg.repeat_interleave(m.group, dim=1)
    ),
    "gelu": lambda m, x: F.gelu(F.linear(x, m.w.to(x.dtype) * m.s[:, None], m.bias)),
    "several": lambda m, x: (
        F.silu(F.linear(x, m.w.to(x.dtype) * m.s[:, None])) * F.linear(x, per_group(m))
    ),
}


@dataclass(frozen=True)
class Near:
    """What is no such weight, and a part of the reason."""

    function: Function
    reason: str


def _unpacked(m: Any, x: Tensor) -> Tensor:
    low, high = m.w & 15, m.w >> 4
    return F.linear(x, torch.cat((low, high), 1)[:, : m.k].to(x.dtype) * m.s[:, None])


NEAR: dict[str, Near] = {
    "two in a byte": Near(_unpacked, "cat"),
    "a sum that wraps": Near(
        lambda m, x: F.linear(x, (m.w - m.z[:, None]).to(x.dtype) * m.s[:, None]),
        "may be too small for what it makes",
    ),
    "numbers that are cut off": Near(
        lambda m, x: F.linear(x, (m.w.to(x.dtype) * m.s[:, None] * 9).int().to(x.dtype)),
        "cuts off",
    ),
    "from the other side": Near(
        lambda m, x: F.linear(x, (m.z[:, None].to(x.dtype) - m.w.to(x.dtype)) * m.s[:, None]),
        "second operand",
    ),
    "a table": Near(lambda m, x: F.linear(x, torch.exp(m.w.to(x.dtype) * m.s1)), "exp"),
    "groups that do not divide": Near(
        lambda m, x: F.linear(
            x, m.w.to(x.dtype) * m.sg[:, :2].repeat_interleave(50, dim=1)[:, : m.k]
        ),
        "a number for each weight",
    ),
}
