"""Texts of many lengths: after a warm-up nothing is compiled, and memory does not grow."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit

OPTIONS: dict[str, Any] = {"fuse": ["attention", "linear"]}
ROOT = Path(__file__).parent.parent
LONGEST = 600
WARM_UP = (512, 16, 2)
"""Lengths of which each kind of kernel serves one; the README names them."""


class Layer(nn.Module):
    """A layer of an encoder: attention with a padding mask, and an MLP."""

    def __init__(self, width: int = 32, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (
            part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, mask[:, None, None, :])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        result: Tensor = x + self.down(F.gelu(self.up(self.norm(x))))
        return result


def inputs(length: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, length, 32), torch.ones(batch, length, dtype=torch.bool)


def compiled(model: nn.Module, road: str) -> Callable[..., Any]:
    if road == "program":
        return snipjit.compile(model, inputs(9, batch=2), options=OPTIONS)
    return torch.compile(model, backend="snipjit", dynamic=True, options=OPTIONS)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("warm_up", [WARM_UP, (*WARM_UP, 1)], ids=["from 2", "from 1"])
def test_after_a_warm_up_nothing_is_compiled(
    batch: int, warm_up: tuple[int, ...], fresh: None
) -> None:
    model = Layer().eval()
    call = compiled(model, "dynamic")
    with torch.inference_mode():
        for length in warm_up:
            call(*inputs(length, batch))
        before = snipjit.stats()
        for length in (*range(min(warm_up), 60), *range(60, LONGEST, 37), LONGEST):
            args = inputs(length, batch)
            torch.testing.assert_close(call(*args), model(*args), rtol=1e-4, atol=1e-5)
    after = snipjit.stats()
    assert after.kernels == before.kernels
    assert after.subgraphs == before.subgraphs
    assert after.kernel_calls > before.kernel_calls


def resident() -> int:
    """Bytes of this process in memory, without what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def growth(road: str) -> int:
    """By how much the memory of this process grows from the 50th length to the 500th, in bytes."""
    order = [length for length in range(2, 600) if length not in WARM_UP]
    random.Random(0).shuffle(order)
    at: dict[int, int] = {}
    with torch.inference_mode():
        call = compiled(Layer().eval(), road)
        for number, length in enumerate([*WARM_UP, *order][:500], 1):
            call(*inputs(length, batch=2))
            if number in (50, 500):
                at[number] = resident()
    stats = snipjit.stats()
    assert (stats.subgraphs, stats.configurations) == (5, 2500)
    return at[500] - at[50]


@pytest.mark.long
@pytest.mark.parametrize("road", ["dynamic", "program"])
def test_memory_does_not_grow_with_lengths(road: str, tmp_path: Path) -> None:
    """In a process of its own, with kernels from the disk: what compiling frees would be used."""
    command = [sys.executable, "-m", "tests.test_many_lengths", road]
    environment = {**os.environ, "SNIPJIT_CACHE": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment
        )
    assert int(done.stdout) <= 4 << 20


if __name__ == "__main__":
    print(growth(sys.argv[1]))
