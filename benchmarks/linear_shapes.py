"""``python -m benchmarks linear --shapes N``: layers of sizes drawn at random against ``F.linear``.

The launcher is called directly, each time with the weight that was not read for the longest time;
what ``torch.compile`` adds to a call is a column. The worst shapes are measured three times more.
A shape has some two seconds, too few to wait for a quiet machine: ratios are those of the shortest
calls.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import exp, log
from random import Random
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.contestants import Contestants
from benchmarks.linear import EAGER, PREPARED, WEIGHTS
from benchmarks.machine import Watch, description
from benchmarks.one_layer import compile_layer
from benchmarks.rounds import Plan, measure
from benchmarks.shapes_table import AROUND, Found, Shape, summary, worst_table

ROWS, SIZES, MULTIPLE = (1, 512), (32, 8192), 32
COLD = 96_000_000
"""Bytes of the weights that take turns."""
WORST, AGAIN = 8, 3
SECONDS, LONGEST = 400.0, 2.4
"""For all shapes, compilation included, and for one of them."""


def run(count: int, seed: int, plan: Plan, console: Console) -> dict[str, object]:
    """Measure, print the tables, return the report that JSON holds."""
    torch.manual_seed(seed)
    shapes, watch = draw(count, seed), Watch.start()
    pool = torch.randn(max(_sets(shape) * shape.weights for shape in shapes))
    limit = min(LONGEST, SECONDS / (count + AGAIN * min(WORST, count)))
    one = partial(_measured, pool=pool, plan=plan, limit=limit, watch=watch)
    found = [one(shape) for shape in track(shapes, "shapes", console=console, transient=True)]
    worst = sorted(found, key=lambda each: each.least)[:WORST]
    turns = [each for _ in range(AGAIN) for each in worst]
    for each in track(turns, "the worst ones again", console=console, transient=True):
        each.timings += one(each.shape).timings
    for table in (summary(found, seed), worst_table(worst)):
        console.print(table)
    return {
        "benchmark": "linear, shapes",
        "machine": description(),
        "seed": seed,
        "shapes": [each.as_dict() for each in found],
        "worst": [each.as_dict() for each in worst],
    }


def draw(count: int, seed: int) -> list[Shape]:
    """Shapes of log-uniform sizes, those of each second weight rounded."""
    random = Random(seed)

    def size(least: int, most: int) -> int:
        return round(exp(random.uniform(log(least), log(most))))

    drawn = [(size(*ROWS), size(*SIZES), size(*SIZES)) for _ in range(count)]
    return [
        Shape(m, _rounded(k), _rounded(n)) if number % 2 else Shape(m, k, n)
        for number, (m, k, n) in enumerate(drawn)
    ]


def _rounded(size: int) -> int:
    return max(round(size / MULTIPLE), 1) * MULTIPLE


def _sets(shape: Shape) -> int:
    """How many weights take turns."""
    return max(-(-COLD // (4 * shape.weights)), 1)


def _measured(shape: Shape, pool: Tensor, plan: Plan, limit: float, watch: Watch) -> Found:
    """Compile, check and time a shape; what compilation leaves of the seconds is for rounds."""
    end, count = perf_counter() + limit, _sets(shape)
    x = torch.randn(shape.rows, shape.inputs) / shape.inputs**0.5
    bias = torch.randn(shape.outputs)
    weights = pool[: count * shape.weights].view(count, shape.outputs, shape.inputs).unbind()
    ours = {name: compile_layer(x, weights[0], bias, way) for name, way in WEIGHTS.items()}
    calls: dict[str, list[Callable[[], Any]]] = {
        EAGER: [partial(F.linear, x, weight, bias) for weight in weights]
    }
    for name, layer in ours.items():
        calls[name] = [partial(layer.call, *layer.given(x, w, bias)) for w in weights]
        torch.testing.assert_close(calls[name][0](), calls[EAGER][0](), rtol=1e-3, atol=1e-4)
    ready = _prepared(calls[PREPARED], end - limit / 2)
    turns = {name: each[:ready] for name, each in calls.items()}
    around = next(iter(ours.values())).around
    own = Plan(plan.rounds, plan.patience, 0.01, max(end - perf_counter(), limit / 4), 3)
    with _without_collection():
        timing = measure({**Contestants(turns).in_turn(), AROUND: around}, own, watch)
    return Found(shape, {name: layer.by_nodes for name, layer in ours.items()}, [timing])


def _prepared(calls: Sequence[Callable[[], Any]], end: float) -> int:
    """How many weights were prepared until ``end``, by a first call with each; one at least.

    Small ones are thousands, and on a busy machine each call waits for a thread.
    """
    for number, call in enumerate(calls, 1):
        call()
        if perf_counter() > end:
            return number
    return len(calls)


@contextmanager
def _without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
