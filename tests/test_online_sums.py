"""Sums of exponentials less a row: fused into one loop or not, they are what the program says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.structures import Model
from snipjit.compiler import lower
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import Loop
from snipjit.ir.subgraph import Subgraph, TensorType
from tests import kernels
from tests.kernels import SMALL, native_in_turn
from tests.linear_examples import TINY

INF = math.inf


def _begin(op: str) -> tuple[Model, str, str, str]:
    """A builder, scores [m][n], their maximum x, and the row ``op(x, r)``."""
    build = Model("sums", m=None, n=None)
    scores = build.weight("s", "m", "n")
    top = build.reduce("max", scores, "n")
    return build, scores, top, build.map(op, top, build.weight("r", "m"))


def _sum(build: Model, scores: str, row: str, exp: str = "exp") -> None:
    build.result(build.reduce("sum", build.map(exp, build.map("sub", scores, row)), "n"))


def of_the_row_and_of_the_maximum() -> Subgraph:
    build, scores, top, row = _begin("maximum")
    _sum(build, scores, row)
    _sum(build, scores, top)
    return build.subgraph()


def times_the_maximum() -> Subgraph:
    build, scores, top, row = _begin("maximum")
    weights = build.map("exp", build.map("sub", scores, row))
    moved = build.map("mul", weights, build.map("mul", scores, top))
    build.result(build.reduce("sum", moved, "n"))
    return build.subgraph()


def less_another_row(op: str) -> Callable[[], Subgraph]:
    def made() -> Subgraph:
        build, scores, _, row = _begin(op)
        _sum(build, scores, row)
        return build.subgraph()

    return made


def left_out_where_hidden() -> Subgraph:
    build, scores, _, row = _begin("maximum")
    weights = build.map("exp", build.map("sub", scores, row))
    visible = build.add("gt", TensorType.of("i1", "m", "n"), scores, build.number(-1e30))
    chosen = build.map("where", visible, weights, build.number(0.0))
    build.result(build.reduce("sum", chosen, "n"))
    return build.subgraph()


def of_two_bases() -> Subgraph:
    build, scores, top, row = _begin("maximum")
    _sum(build, scores, top, "exp2")
    _sum(build, scores, row, "exp")
    return build.subgraph()


def one_after_another() -> Subgraph:
    """The logarithm of the first sum is part of the second."""
    build, scores, top, _ = _begin("maximum")
    first = build.reduce("sum", build.map("exp", build.map("sub", scores, top)), "n")
    lse = build.map("add", top, build.map("log", first))
    weights = build.map("exp", build.map("sub", scores, lse))
    build.result(build.reduce("sum", build.map("mul", weights, scores), "n"))
    build.result(first)
    return build.subgraph()


def of_other_scores() -> Subgraph:
    """The maximum of one value, exponentials of another of the same stream."""
    build, _, top, _ = _begin("maximum")
    _sum(build, build.weight("t", "m", "n"), top)
    return build.subgraph()


def of_two_scores() -> Subgraph:
    """One row above both, which each follows by a maximum of its own, or none does."""
    build, scores, top, _ = _begin("maximum")
    other = build.weight("t", "m", "n")
    row = build.map("maximum", top, build.reduce("max", other, "n"))
    for values in (scores, other):
        _sum(build, values, row)
    return build.subgraph()


def times_what_is_hidden() -> Subgraph:
    """0 times -inf is NaN, also where blocks are cut off."""
    build = Model("entropy", m=None, n=None)
    scores = build.weight("s", "m", "n")
    row = build.add("iota", TensorType.of("i32", "m"), axis="m")
    column = build.add("iota", TensorType.of("i32", "n"), axis="n")
    seen = build.add("le", TensorType.of("i1", "m", "n"), column, row)
    hidden = build.map("where", seen, scores, build.number(-INF))
    top = build.map("safe", build.reduce("max", hidden, "n"))
    weights = build.map("exp", build.map("sub", hidden, top))
    build.result(build.reduce("sum", build.map("mul", weights, hidden), "n"))
    return build.subgraph()


PROGRAMS: dict[str, Callable[[], Subgraph]] = {
    "of the row and of the maximum": of_the_row_and_of_the_maximum,
    "times the maximum": times_the_maximum,
    **{f"less a row, {op}": less_another_row(op) for op in ("maximum", "minimum", "mul", "sub")},
    "left out where hidden": left_out_where_hidden,
    "of two bases": of_two_bases,
    "one after another": one_after_another,
    "of other scores": of_other_scores,
    "of two scores": of_two_scores,
    "times what is hidden": times_what_is_hidden,
}


def calls(subgraph: Subgraph, columns: int) -> list[list[torch.Tensor]]:
    """Ordinary scores and rows, and such with infinities and NaN."""
    generator = torch.Generator().manual_seed(columns)
    found = []
    for low, high, row in ((0.0, 0.0, 0.0), (-INF, 0.0, -INF), (0.0, INF, 0.0), (0.0, INF, INF)):
        scores = 4 * torch.randn(7, columns, generator=generator)
        rows = torch.randn(7, generator=generator)
        if columns:
            scores[1] += low
            scores[2, -1] += high
            scores[3, 0] = math.nan if low else scores[3, 0]
        rows[1:3] += row
        others = torch.randn(7, columns, generator=generator) * (1.0 if low else 15.0)
        given = {"s": scores, "r": rows, "t": others}
        found.append([given[node.name] for node in subgraph.parameters])
    return found


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("columns", [0, 1, 31])
def test_the_ir_means_what_the_program_says(name: str, columns: int) -> None:
    subgraph = PROGRAMS[name]()
    lir = lower(subgraph, TINY)
    for call in calls(subgraph, columns):
        arrays = [tensor.double().numpy() for tensor in call]
        with np.errstate(all="ignore"):
            results = interpret(lir, arrays)
            for got, want in zip(results, interpret_subgraph(subgraph, arrays), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "row"), native_in_turn([*PROGRAMS], SMALL))
def test_kernels(name: str, row: str) -> None:
    subgraph = PROGRAMS[name]()
    run = kernels.launcher_of(lower(subgraph, SMALL[row]), SMALL[row])
    for columns in (1, 31, 77):
        for call in calls(subgraph, columns):
            with np.errstate(all="ignore"):
                kernels.assert_right(run, subgraph, call, [])


@pytest.mark.parametrize(("op", "loops"), [("maximum", 1), ("minimum", 2), ("mul", 2), ("sub", 2)])
def test_only_rows_that_are_maxima_are_followed(op: str, loops: int) -> None:
    lir = lower(less_another_row(op)(), TINY)
    streams = [s for s, _ in lir.walk() if isinstance(s, Loop) and s.axis == "n" and s.states]
    assert len(streams) == loops


def test_a_model_may_subtract_the_maximum_of_other_scores() -> None:
    """That of the masked scores from the plain ones, which it leaves in."""

    def model(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        scores = q @ k.mT / 8
        top = (scores + b).amax(-1, keepdim=True)
        weights = torch.exp(scores - top)
        return weights @ v / weights.sum(-1, keepdim=True)

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 64, generator=generator) for n in (40, 300, 300))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="snipjit")
    for low in (-INF, -300.0):
        b = torch.zeros(40, 300)
        b[:, :256] = low
        with torch.inference_mode():
            torch.testing.assert_close(compiled(q, k, v, b), model(q, k, v, b))
