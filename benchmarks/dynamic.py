"""``python -m benchmarks dynamic``: BERT's attention over changing lengths, first call included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from time import perf_counter

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import snipjit
from benchmarks.lengths import text_lengths
from benchmarks.machine import Watch, description
from benchmarks.rounds import Plan, measure

HEADS, HEAD_DIM = 12, 64

Attention = Callable[..., torch.Tensor]


def split(x: torch.Tensor) -> torch.Tensor:
    """[B, S, H*D] to [B, H, S, D]."""
    return x.view(x.shape[0], x.shape[1], HEADS, HEAD_DIM).transpose(1, 2)


def merge(x: torch.Tensor) -> torch.Tensor:
    """[B, H, S, D] to [B, S, H*D]."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], HEADS * HEAD_DIM)


def eager(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """BERT's attention between the projections: [B, S, H*D] each, mask [B, 1, 1, S]."""
    scores = torch.matmul(split(q), split(k).transpose(-1, -2)) / sqrt(HEAD_DIM)
    return merge(torch.matmul(torch.softmax(scores + mask, dim=-1), split(v)))


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The same by PyTorch's fused function."""
    return merge(F.scaled_dot_product_attention(split(q), split(k), split(v), mask))


@dataclass(frozen=True)
class ColdRun:
    """Seconds of a first pass over all lengths by one contestant."""

    first_call: float
    total: float
    worst_later: float
    disturbed: bool


def run(count: int, plan: Plan, console: Console) -> dict[str, object]:
    """Measure first and later passes, print the table, return the report that JSON holds."""
    lengths = text_lengths(count)
    inputs = [_inputs(length) for length in lengths]
    torch._dynamo.reset()
    snipjit.reset_stats()
    contestants: dict[str, Attention] = {
        "eager": eager,
        "sdpa": sdpa,
        "snipjit": torch.compile(eager, backend="snipjit", dynamic=True),
    }
    watch = Watch.start()
    cold = {name: _cold_run(call, inputs, watch) for name, call in contestants.items()}
    kernels = snipjit.stats().kernels
    error = max(
        float((contestants["snipjit"](*tensors) - eager(*tensors)).abs().max())
        for tensors in inputs
    )
    warm = _warm_runs(contestants, inputs, plan, watch, console)
    console.print(_table(lengths, cold, warm))
    if any(run.disturbed for run in cold.values()):
        console.print("! something else used the machine during the cold pass: run again")
    console.print(f"kernels: {kernels}; largest difference from eager: {error:.1e}")
    return {
        "benchmark": "dynamic",
        "machine": description(),
        "lengths": lengths,
        "kernels": kernels,
        "error": error,
        "cold": {name: vars(result) for name, result in cold.items()},
        "warm_total": warm,
    }


def _inputs(length: int) -> tuple[torch.Tensor, ...]:
    """Query, key and value [1, length, H*D] and a padding mask that hides nothing."""
    generator = torch.Generator().manual_seed(length)
    size = (1, length, HEADS * HEAD_DIM)
    tensors = [torch.randn(size, generator=generator) for _ in range(3)]
    return (*tensors, torch.zeros(1, 1, 1, length))


def _cold_run(call: Attention, inputs: list[tuple[torch.Tensor, ...]], watch: Watch) -> ColdRun:
    """Time each call of a pass in which everything happens for the first time: no second try."""
    seconds, state = [], watch.begin()
    for tensors in inputs:
        start = perf_counter()
        call(*tensors)
        seconds.append(perf_counter() - start)
    return ColdRun(seconds[0], sum(seconds), max(seconds[1:], default=0.0), watch.spoiled(state))


def _warm_runs(
    contestants: dict[str, Attention],
    inputs: list[tuple[torch.Tensor, ...]],
    plan: Plan,
    watch: Watch,
    console: Console,
) -> dict[str, float]:
    """Median seconds of a whole pass, in interleaved rounds."""

    def passes(call: Attention) -> Callable[[], None]:
        return lambda: [call(*tensors) for tensors in inputs].clear()

    calls = {name: passes(call) for name, call in contestants.items()}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("dynamic", total=None)
        timing = measure(calls, plan, watch, lambda text: progress.update(task, description=text))
    if timing.disturbed:
        console.print("! the machine stayed busy: spoiled rounds are in the medians, do not quote")
    return {name: timing.median(name) for name in contestants}


def _table(lengths: list[int], cold: dict[str, ColdRun], warm: dict[str, float]) -> Table:
    mean, distinct = sum(lengths) / len(lengths), len(set(lengths))
    table = Table(
        title=f"{len(lengths)} calls, mean length {mean:.0f}, {distinct} distinct, f32, "
        f"{torch.get_num_threads()} threads, ms"
    )
    table.add_column("")
    for title in ("first call", "worst later call", "all calls, cold", "all calls, warm"):
        table.add_column(title, justify="right")
    for name, run in cold.items():
        times = (run.first_call, run.worst_later, run.total, warm[name])
        mark = "!" if run.disturbed else ""
        table.add_row(name + mark, *(f"{seconds * 1e3:.2f}" for seconds in times))
    return table
