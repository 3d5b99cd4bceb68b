"""``python -m benchmarks against COMMIT``: this tree against another commit, call by call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from statistics import geometric_mean, median
from tempfile import TemporaryDirectory
from typing import IO, Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import description
from benchmarks.rounds import Plan
from snipjit.errors import OptionError

ROOT = Path(__file__).parents[1]
BOOT = "import sys; sys.path[:0] = sys.argv[1:]; from benchmarks.turns import main; main()"
CALLS = 12
"""Calls of each in a round."""
LOW = 0.97
"""Under this ratio a row is marked."""


@dataclass
class Worker:
    """A process with one version of snipjit."""

    requests: IO[str]
    answers: IO[str]

    def ask(self, **request: Any) -> dict[str, Any]:
        """Its answer to a request. RuntimeError if it has died."""
        print(json.dumps(request), file=self.requests, flush=True)
        line = self.answers.readline()
        if not line:
            raise RuntimeError(f"a worker died at {request}; its errors stand above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self, number: int) -> float:
        """How long a call takes there."""
        return float(self.ask(call=number)["seconds"])


@contextmanager
def worker(package: Path) -> Iterator[Worker]:
    """A worker whose snipjit is in ``package``. While it waits it takes no CPU."""
    environment = {**os.environ, "SNIPJIT_CACHE": "0", "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(
        [sys.executable, "-c", BOOT, str(package), str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=package,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Worker(process.stdin, process.stdout)
    finally:
        process.kill()
        process.wait()


def extract(commit: str, place: Path) -> None:
    """The package as it was in a commit. OptionError if there is no such commit."""
    made = subprocess.run(
        ["git", "archive", commit, "snipjit"], cwd=ROOT, capture_output=True, check=False
    )
    if made.returncode:
        raise OptionError(f"no commit {commit!r}: {made.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(made.stdout)) as archive:
        archive.extractall(place, filter="data")


def run(commit: str, names: list[str], dtype: str, plan: Plan, console: Console) -> dict[str, Any]:
    """Measure the rows, print a line each, and return the report that JSON holds."""
    rows = []
    with TemporaryDirectory() as place:
        extract(commit, Path(place))
        with worker(Path(place)) as old, worker(ROOT) as new:
            console.print(_head(commit), highlight=False)
            for name in names:
                rows.append(_row(name, dtype, plan, old, new))
                console.print(_line(rows[-1]), highlight=False)
    mean = geometric_mean(row["ratio"] for row in rows)
    console.print(_table(rows, commit, mean))
    return {"benchmark": "against", "commit": commit, "dtype": dtype, "machine": description(),
            "rows": rows, "mean": mean}  # fmt: skip


def _row(name: str, dtype: str, plan: Plan, old: Worker, new: Worker) -> dict[str, Any]:
    """Medians of calls in turns; the ratio is that of neighbours, above 1 where new is faster.

    ``same`` is the ratio of old to itself, call against next call: what is noise.
    """
    for each in (old, new):
        each.ask(row=name, dtype=dtype, threads=torch.get_num_threads())
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    for turn in range(plan.rounds * CALLS):
        pair = [("old", old), ("new", new)]
        for key, each in Random(turn).sample(pair, 2):
            seconds[key].append(each.seconds(turn))
    warm = {key: found[CALLS:] for key, found in seconds.items()}
    ratios = [before / now for before, now in zip(warm["old"], warm["new"], strict=True)]
    same = [one / next for one, next in zip(warm["old"], warm["old"][1:], strict=False)]
    medians = {key: median(found) for key, found in warm.items()}
    return {"row": name, **medians, "ratio": median(ratios), "same": median(same)}


def _head(commit: str) -> str:
    return f"{description()['cpu']}: {commit} against this tree"


def _line(row: dict[str, Any]) -> str:
    return f"{row['row']}: {row['ratio']:.3f}"


def _table(rows: list[dict[str, Any]], commit: str, mean: float) -> Table:
    table = Table(title=f"this tree against {commit}; geometric mean {mean:.3f}")
    for title in ("row", "old ms", "new ms", "old / new", "old / old", ""):
        table.add_column(title, justify="left" if title == "row" else "right")
    for row in rows:
        times = [f"{row[key] * 1e3:.3f}" for key in ("old", "new")]
        ratios = [f"{row[key]:.3f}" for key in ("ratio", "same")]
        table.add_row(row["row"], *times, *ratios, "slower" if row["ratio"] < LOW else "")
    return table
