"""LimitGuards: limits for numbers that may be finite, and what becomes of rows that need more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snipjit.compiler import lower
from snipjit.ir.element_types import Array
from snipjit.ir.interpret import linear as interpret_linear
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import is_kind
from snipjit.ir.schedule import OF_PRODUCTS, Schedule
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.limit_loops import LimitLoops
from tests.linear_examples import TINY, before_and_after
from tests.masked_graphs import CASES, FILLS, HIDDEN, LOWEST, Masked, arrays, unlimited
from tests.passes.linear.test_limit_loops import HIDDEN as PANELS

CAUSAL = Masked("causal", "where", "softmax")
SIZES = ((1, 1), (13, 5), (9, 37), (33, 33), (0, 5), (5, 0))


def test_before_and_after(golden: Callable[[str], None]) -> None:
    text = PANELS.replace("%low = fill {value=-inf} : f32[]", "").replace("%low", "%fill")
    text = text.replace("parallel m", "scalar %fill\nparallel m")
    golden(before_and_after(LimitLoops(), text))


@settings(deadline=None, max_examples=30)
@given(
    case=st.sampled_from(CASES),
    schedule=st.sampled_from(OF_PRODUCTS),
    sizes=st.sampled_from(SIZES),
    hidden=st.sampled_from(HIDDEN),
    scale=st.sampled_from((1.0, 3e3)),
    past=st.sampled_from((0.0, 3.0, -2.0, 24.0, 1e9)),
    wide=st.sampled_from((4.0, 7.5, 1.0, 0.0, -3.0)),
    fill=st.sampled_from(FILLS),
)
def test_meaning_is_kept(
    case: Masked,
    schedule: Schedule,
    sizes: tuple[int, int],
    hidden: str,
    scale: float,
    past: float,
    wide: float,
    fill: float,
) -> None:
    lir = lower(case.subgraph(), TINY, schedule=schedule)
    verify(lir, final=True)
    assert parse_linear(print_linear(lir)) == lir
    tensors, scalars = arrays(*sizes, hidden, scale), case.scalars(past, wide, fill)
    want = interpret(unlimited(case.subgraph(), TINY, schedule), tensors, scalars)
    for found, expected in zip(interpret(lir, tensors, scalars), want, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def _runs(monkeypatch: pytest.MonkeyPatch, fill: float, **inputs: Any) -> int:
    """How often the only task of a causal softmax runs its body."""
    runs = 0
    tensors = arrays(13, 13, inputs.get("hidden", "nothing"), inputs.get("scale", 1.0))
    case = Masked("padded", inputs.get("form", "where"), "softmax")

    def block(machine: Any, body: list[Any]) -> None:
        nonlocal runs
        runs += sum(body is statement.body for statement in retries)
        original(machine, body)

    lir = lower(case.subgraph(), TINY)
    retries = [s for s, _ in lir.walk() if is_kind(s, "retry")]
    original = interpret_linear._Machine.block
    monkeypatch.setattr(interpret_linear._Machine, "block", block)
    one: list[Array] = [array[:1] for array in tensors]
    interpret_linear.interpret(lir, one, case.scalars(0, 0, fill))
    return runs


@pytest.mark.parametrize(
    ("fill", "inputs", "runs"),
    [
        (LOWEST, {}, 1),
        (-1e9, {}, 1),
        (-1e4, {}, 1),
        (-1e4, {"scale": -1e5}, 2),
        (LOWEST, {"hidden": "left"}, 2),
        (LOWEST, {"form": "add"}, 1),
        (LOWEST, {"form": "add", "hidden": "left"}, 2),
        (LOWEST, {"hidden": "right"}, 1),
        (LOWEST, {"hidden": "a row"}, 2),
        (-1e9, {"form": "add", "hidden": "left"}, 1),
        (-5.0, {}, 1),
    ],
)
def test_a_task_runs_again_only_for_rows_that_need_it(
    fill: float, inputs: dict[str, Any], runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _runs(monkeypatch, fill, **inputs) == runs


@pytest.mark.parametrize("form", ["add", "mul"])
def test_what_is_added_may_outweigh_a_small_fill(form: str) -> None:
    """Scores of 1e4 and a fill of -1e4 that is added: hidden elements are seen."""
    text = print_linear(lower(Masked("causal", form, "softmax", -1e4).subgraph(), TINY))
    assert "retry" not in text
    assert "where n" not in text


def test_a_sum_with_the_lowest_number_is_at_most_half_of_it() -> None:
    text = print_linear(lower(Masked("causal", "add two", "softmax", LOWEST).subgraph(), TINY))
    assert f"value={LOWEST / 4!r}" in text
