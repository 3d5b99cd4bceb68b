"""The first call of BERT-base: our part of it, cold and with kernels on disk, by its layers.

Each call has a process of its own. Our part is the backend and what the first call compiles, not
Dynamo's tracing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import snipjit
import snipjit.ahead
from benchmarks.machine import description
from snipjit.frontend import torch_backend
from snipjit.runtime.structure import Structure

LAYERS = (2, 4, 12)
STATES = ("cold", "warm")

NARROW = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}

Numbers = dict[str, float]
"""Of one first call: milliseconds by stage, of all of it and of our part, and counts."""

STAGES = ("find", "translate", "compile")
"""Patterns in the graph, structures of what was found, their kernels; what remains is the rest."""


def run(layers: Sequence[int], repeats: int, small: bool, console: Console) -> dict[str, Any]:
    """Measure, print and return the report; ``small`` is another model, for a quick look."""
    rows = [row for count in layers for row in _rows(count, repeats, small)]
    console.print(_table(rows))
    further = {state: _further(rows, state) for state in STATES}
    for state, each in further.items():
        if each is not None:
            console.print(f"{state}: each further layer {each:.2f} ms")
    return {
        "benchmark": "first-call",
        "machine": description(),
        "rows": rows,
        "further_layer_ms": further,
    }


def _rows(layers: int, repeats: int, small: bool) -> list[dict[str, Any]]:
    """The medians of some cold calls, and of as many warm ones."""
    found: dict[str, list[Numbers]] = {state: [] for state in STATES}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for state in STATES:
                found[state].append(_in_process(layers, small, cache))
    return [
        {"layers": layers, "state": state, **{name: median(o[name] for o in of) for name in of[0]}}
        for state, of in found.items()
    ]


def _in_process(layers: int, small: bool, cache: str) -> Numbers:
    command = [sys.executable, "-m", "benchmarks.first_call", str(layers), str(int(small))]
    environment = {**os.environ, "SNIPJIT_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    numbers: Numbers = json.loads(done.stdout.splitlines()[-1])
    return numbers


def _further(rows: Sequence[dict[str, Any]], state: str) -> float | None:
    """Milliseconds of each further layer; None of one number of layers."""
    own = [row for row in rows if row["state"] == state]
    first, last = own[0], own[-1]
    more = last["layers"] - first["layers"]
    return (last["ours"] - first["ours"]) / more if more else None


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="first call of BERT-base, ms")
    heads = ("layers", "state", "whole call", "our part", *STAGES, "rest", "kernels", "a kernel")
    for head in heads:
        table.add_column(head, justify="left" if head == "state" else "right")
    for row in rows:
        times = [row[name] for name in ("whole", "ours", *STAGES, "rest")]
        each = row["compile"] / max(row["kernels"], 1)
        table.add_row(
            str(row["layers"]),
            row["state"],
            *(f"{time:.0f}" for time in times),
            f"{row['kernels']:.0f}",
            f"{each:.0f}",
        )
    return table


def _measure(layers: int, small: bool) -> Numbers:
    """One first call, in this process."""
    from transformers import BertConfig, BertModel

    torch.set_num_threads(2)
    torch.manual_seed(0)
    make: Any = BertModel  # which has no types
    model = make(BertConfig(num_hidden_layers=layers, **(NARROW if small else {}))).eval()
    ids = torch.randint(0, 30000, (1, 31))
    clock = _Clock()
    clock.of(torch_backend, "tokenize", "find")
    clock.of(torch_backend, "compile_subgraph", "translate")
    clock.of(snipjit.ahead, "compile_ahead", "compile")
    clock.of(Structure, "configure", "compile")
    with torch.inference_mode():
        model(ids)
        own = clock.timed(torch_backend.backend)
        compiled: Any = torch.compile(model, backend=own, dynamic=True)
        before = perf_counter()
        compiled(ids)
        whole = 1e3 * (perf_counter() - before)
    spent = clock.spent
    stages = {name: spent.get(name, 0.0) for name in (*STAGES, "rest")}
    made = snipjit.stats()
    counts = {"kernels": float(made.kernels), "compiled": float(made.kernels_compiled)}
    return {"whole": whole, "ours": sum(stages.values()), **stages, **counts}


class _Clock:
    """Milliseconds of each stage, without those of stages inside."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner: list[float] = []

    def timed(self, function: Callable[..., Any], stage: str = "rest") -> Callable[..., Any]:
        """A function whose time is that of a stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            before = perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                whole, inner = 1e3 * (perf_counter() - before), self._inner.pop()
                self.spent[stage] = self.spent.get(stage, 0.0) + whole - inner
                if self._inner:
                    self._inner[-1] += whole

        return call

    def of(self, owner: Any, name: str, stage: str) -> None:
        """Time what stands under a name."""
        setattr(owner, name, self.timed(getattr(owner, name), stage))


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]), sys.argv[2] == "1")))
