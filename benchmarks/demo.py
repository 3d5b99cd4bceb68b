"""``python -m benchmarks demo``: BERT over texts of changing length, compiled and exported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import snipjit
from benchmarks.latency_plot import write_plot
from benchmarks.lengths import text_lengths

OUT = Path("out")
CLASSES = ((1, 16), (17, 32), (33, 64), (65, 512))
"""Length classes of the final table, both ends included."""

TOLERANCE = 1e-4
"""Largest difference from eager: outputs of a layer norm, so their range is a few units."""


class Encoder(torch.nn.Module):
    """A transformers BERT that maps ids and mask [B, S] to hidden states [B, S, hidden]."""

    def __init__(self, layers: int, attention: str) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(num_hidden_layers=layers, attn_implementation=attention)
        self.bert: Any = BertModel(config, add_pooling_layer=False)
        self.vocabulary = int(config.vocab_size)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Hidden states of the last layer."""
        outputs = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        return outputs.last_hidden_state  # type: ignore[no-any-return]


@dataclass
class Latencies:
    """Milliseconds of every text, by contestant, and the largest difference from eager."""

    lengths: list[int]
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    error: float = 0.0

    def class_median(self, name: str, shortest: int, longest: int) -> float:
        """Median time of the texts in a length class that is not empty."""
        pairs = zip(self.lengths, self.milliseconds[name], strict=True)
        return median(time for length, time in pairs if shortest <= length <= longest)


def run(texts: int, layers: int, console: Console) -> dict[str, object]:
    """The whole demo; returns the numbers of the final table. Raises SystemExit if one is wrong."""
    OUT.mkdir(exist_ok=True)
    console.print(f"BERT-base from its config, random weights, {layers} layers")
    models = _models(layers)
    lengths = text_lengths(texts)
    snipjit.reset_stats()
    first_call = _first_call(models["snipjit"], models["eager"], lengths[0])
    console.print(f"first call, Dynamo and kernel compilation included: {first_call:.1f} s")
    latencies = _run_texts(models, lengths, console)
    kernels = snipjit.stats().kernels_compiled
    _export_and_run(models["eager"], console)
    plot = OUT / "latency.png"
    write_plot(plot, latencies.lengths, latencies.milliseconds)
    console.print(_table(latencies))
    console.print(f"kernels compiled: {kernels}; largest difference from eager: ", end="")
    console.print(f"{latencies.error:.1e}; plot: {plot}")
    if not latencies.error < TOLERANCE:
        raise SystemExit(f"the results differ from eager by more than {TOLERANCE:g}")
    return {
        "benchmark": "demo",
        "first_call_seconds": first_call,
        "kernels_compiled": kernels,
        "error": latencies.error,
        "lengths": lengths,
        "ms": latencies.milliseconds,
    }


def _models(layers: int) -> dict[str, Any]:
    """Eager, SDPA and ours with the same weights; ours compiles the eager form."""
    torch.manual_seed(0)
    eager = Encoder(layers, "eager").eval()
    sdpa = Encoder(layers, "sdpa").eval()
    sdpa.load_state_dict(eager.state_dict())
    compiled = torch.compile(eager, backend="snipjit", dynamic=True)
    return {"eager": eager, "sdpa": sdpa, "snipjit": compiled}


def _text(length: int, vocabulary: int = 30522) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids [1, length] and a mask that shows all of them."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(vocabulary, (1, length), generator=generator)
    return ids, torch.ones(1, length, dtype=torch.long)


def _first_call(compiled: Any, eager: Any, length: int) -> float:
    """Seconds of the call that compiles."""
    with torch.inference_mode():
        eager(*_text(length))
        start = perf_counter()
        compiled(*_text(length))
        return perf_counter() - start


def _run_texts(models: Mapping[str, Any], lengths: list[int], console: Console) -> Latencies:
    """Every text through every model, beginning with another model each time."""
    latencies = Latencies(lengths, {name: [] for name in models})
    names = list(models)
    with torch.inference_mode():
        for turn, length in enumerate(track(lengths, f"{len(lengths)} texts", console=console)):
            text, outputs = _text(length), {}
            for name in names[turn % 3 :] + names[: turn % 3]:
                start = perf_counter()
                outputs[name] = models[name](*text)
                latencies.milliseconds[name].append((perf_counter() - start) * 1e3)
            difference = (outputs["snipjit"] - outputs["eager"]).abs().max()
            latencies.error = max(latencies.error, float(difference))
    return latencies


def _export_and_run(model: Any, console: Console) -> None:
    """Export the model with a dynamic length, and run the file by the command line."""
    path = OUT / "bert.pt2"
    length = torch.export.Dim("length", min=2, max=512)
    with torch.no_grad():
        exported = torch.export.export(model, _text(31), dynamic_shapes=({1: length}, {1: length}))
    torch.export.save(exported, path)
    command = ["snipjit", "run", str(path), "--compare", "--size", "input_ids.1=31"]
    console.print(f"[bold]$ {' '.join(command)}")
    subprocess.run([sys.executable, "-m", *command], check=True)


def _table(latencies: Latencies) -> Table:
    """Median milliseconds a text by length class."""
    threads = torch.get_num_threads()
    table = Table(title=f"BERT, median ms a text, f32, {threads} threads")
    for title in ("tokens", "texts", *latencies.milliseconds, "vs eager", "vs sdpa"):
        table.add_column(title, justify="right")
    for shortest, longest in CLASSES:
        count = sum(shortest <= length <= longest for length in latencies.lengths)
        if count:
            times = [latencies.class_median(n, shortest, longest) for n in latencies.milliseconds]
            ratios = [f"{time / times[-1]:.2f}x" for time in times[:-1]]
            cells = [f"{time:.1f}" for time in times]
            table.add_row(f"{shortest}–{longest}", str(count), *cells, *ratios)
    return table
