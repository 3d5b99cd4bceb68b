"""Normalizations as models write them, for the tests that compile them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Model(nn.Module):
    """A function of parameters and inputs."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


@dataclass(frozen=True)
class Form:
    """A function of a model and its inputs, the model's parts, how many inputs, and kernels."""

    function: Callable[..., Any]
    parts: Callable[[], dict[str, Any]] = dict
    inputs: int = 1
    kernels: int = 1
    shape: tuple[int, ...] = (24,)

    def model(self) -> nn.Module:
        """The model, with weights that are not all one."""
        torch.manual_seed(0)
        model = _Model(self.function, **self.parts()).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        return model

    def given(self, batch: int, length: int) -> tuple[Tensor, ...]:
        """Inputs of [batch, length, …]."""
        torch.manual_seed(length)
        return tuple(torch.randn(batch, length, *self.shape) for _ in range(self.inputs))


def _weight() -> dict[str, Any]:
    return {"w": nn.Parameter(torch.empty(24))}


def _norm(n: int | tuple[int, ...] = 24) -> dict[str, Any]:
    return {"n": nn.LayerNorm(n)}


def _llama(m: Any, x: Tensor) -> Tensor:
    """As Llama of transformers writes it."""
    dtype = x.dtype
    x = x.to(torch.float32)
    variance = x.pow(2).mean(-1, keepdim=True)
    x = x * torch.rsqrt(variance + 1e-6)
    result: Tensor = m.w * x.to(dtype)
    return result


def _gemma(m: Any, x: Tensor) -> Tensor:
    output = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
    result: Tensor = (output * (1.0 + m.w.float())).type_as(x)
    return result


def _written(m: Any, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, unbiased=False)
    result: Tensor = m.w * (x - mean) / torch.sqrt(variance + 1e-5)
    return result


def _squares(m: Any, x: Tensor) -> Tensor:
    """As BERT in TensorFlow's style writes it."""
    u = x.mean(-1, keepdim=True)
    s = (x - u).pow(2).mean(-1, keepdim=True)
    result: Tensor = m.w * ((x - u) / torch.sqrt(s + 1e-12))
    return result


def _spread(m: Any, x: Tensor) -> Tensor:
    """As annotated transformers write it: the standard deviation of a sample."""
    result: Tensor = m.w * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
    return result


def _channels(*names: str) -> dict[str, Any]:
    return {name: nn.Parameter(torch.randn(24, 1, 1)) for name in names}


def _residual(m: Any, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    h = x + r
    return m.n(h), h


def _block(m: Any, x: Tensor, r: Tensor) -> Tensor:
    """The next residual sum reads the first, and what is made of the normalized rows."""
    h = x + r
    result: Tensor = h + m.l(m.n(h))
    return result


def _modulated(m: Any, x: Tensor, c: Tensor) -> Tensor:
    """As DiT does: the condition is one row for a whole batch element."""
    shift, scale = c[:, :1].sin(), c[:, :1].cos()
    return F.layer_norm(x, (24,)) * (1 + scale) + shift


def _mean_of_shown(m: Any, x: Tensor, p: Tensor) -> Tensor:
    """As sentence-transformers pools: the mean of the tokens that a mask shows, of length 1."""
    shown = (p[..., 0] > -1.5).unsqueeze(-1).expand(x.size()).to(x.dtype)
    mean = torch.sum(x * shown, 1) / torch.clamp(shown.sum(1), min=1e-9)
    return F.normalize(mean, p=2, dim=1)


FORMS: dict[str, Form] = {
    "layer norm": Form(lambda m, x: m.n(x), _norm),
    "layer norm, no weights": Form(lambda m, x: F.layer_norm(x, (24,)), inputs=1),
    "layer norm of two dims": Form(lambda m, x: m.n(x), lambda: _norm((3, 8)), shape=(3, 8)),
    "rms norm": Form(lambda m, x: m.n(x), lambda: {"n": nn.RMSNorm(24)}),
    "rms norm, eps": Form(lambda m, x: F.rms_norm(x, (24,), m.w, 1e-5), _weight),
    "group norm": Form(
        lambda m, x: m.n(x.reshape(-1, 6, 8)), lambda: {"n": nn.GroupNorm(3, 6)}, shape=(6, 8)
    ),
    "group norm of unknown length": Form(
        lambda m, x: F.silu(m.n(x.transpose(1, 2))), lambda: {"n": nn.GroupNorm(3, 24)}
    ),
    "group norm of an image": Form(
        lambda m, x: F.silu(m.n(x.permute(2, 0, 1)[None].contiguous())),
        lambda: {"n": nn.GroupNorm(3, 24)},
    ),
    "group norm of an image seen across": Form(
        lambda m, x: F.silu(m.n(x.reshape(-1, 6, x.shape[1], 4).mT.transpose(0, 3))),
        lambda: {"n": nn.GroupNorm(3, 6)},
    ),
    "group norm of an image, scaled and shifted": Form(
        lambda m, x: F.silu(m.n(x.mT[..., None].contiguous()) * (1 + m.a) + m.b),
        lambda: {"n": nn.GroupNorm(3, 24), **_channels("a", "b")},
    ),
    "unknown count": Form(lambda m, x: x - x.mean(1, keepdim=True)),
    "unknown count, corrected": Form(lambda m, x: x / x.std(1, keepdim=True).clamp(min=0.1)),
    "mean of shown": Form(_mean_of_shown, inputs=2, kernels=2),
    "mean of a gate": Form(lambda m, x, y: (x.sigmoid() * y).mean(dim=1), inputs=2),
    "Llama": Form(_llama, _weight),
    "Gemma": Form(_gemma, _weight),
    "written": Form(_written, _weight),
    "squares": Form(_squares, _weight),
    "spread": Form(_spread, _weight),
    "residual": Form(_residual, _norm, 2),
    "block": Form(_block, lambda: {"l": nn.Linear(24, 24), **_norm()}, 2),
    "sum of three": Form(lambda m, x, r, p: m.n(x + r + p), _norm, 3),
    "gelu behind": Form(lambda m, x: F.gelu(m.n(x)), _norm),
    "modulated": Form(_modulated, inputs=2),
    "normalize": Form(lambda m, x: F.normalize(x, dim=-1)),
    "normalize, written": Form(lambda m, x: x / x.norm(p=2, dim=-1, keepdim=True)),
    "normalize, clamped": Form(
        lambda m, x: x / x.pow(2).sum(-1, keepdim=True).sqrt().clamp(min=1e-9)
    ),
    "softmax": Form(lambda m, x: x.softmax(-1) * 2),
    "softmax of rows": Form(lambda m, x: (x / 3).softmax(1)),
    "softmax of a scaled sum": Form(lambda m, x, y: F.softmax(x * 0.3 + y, dim=-1), inputs=2),
    "log_softmax": Form(lambda m, x: F.log_softmax(x, dim=-1)),
}
