"""A worker of ``against``: makes the kernel of a row and runs one call at a time, as it is told.

It reads a request a line (JSON) and answers each with a line: ``{"row": …, "dtype": …, "threads":
…}`` makes a row's calls, ``{"call": i}`` runs one and tells its seconds. ``snipjit`` is whatever
the path finds first, so nothing but what users call is asked of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import fx

from benchmarks.precisions import PRECISIONS
from benchmarks.rows import Row, select
from snipjit import backend

Calls = list[Callable[[], Any]]


def calls_of(row: Row) -> Calls:
    """A call for each set of a row's inputs: the compiled graph, without Dynamo's guards."""
    given: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def keep(gm: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        forward = backend(gm, inputs)

        def record(*args: Any) -> Any:
            given.append((forward, args))
            return forward(*args)

        return record

    torch._dynamo.reset()
    compiled = torch.compile(row.model.form, backend=keep, dynamic=True)
    for inputs in row.input_sets():
        compiled(*inputs)
    return [partial(forward, *args) for forward, args in given]


def answer(request: dict[str, Any], calls: Calls) -> dict[str, Any]:
    """Do what a request says."""
    if "row" in request:
        torch.set_num_threads(request["threads"])
        (row,) = select([request["row"]], PRECISIONS[request["dtype"]])
        calls[:] = calls_of(row)
        return {"calls": len(calls)}
    call = calls[request["call"] % len(calls)]
    start = perf_counter()
    call()
    return {"seconds": perf_counter() - start}


def main() -> None:
    """Answer until there are no more requests."""
    calls: Calls = []
    # What libraries print must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    with torch.inference_mode():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), calls)), file=answers, flush=True)
