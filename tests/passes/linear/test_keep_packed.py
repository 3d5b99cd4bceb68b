"""KeepPacked: what one task has packed is not packed anew by the next one that wants the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks import structures as model_graphs
from snipjit.compiler import lower
from snipjit.errors import VerificationError
from snipjit.ir.linear_ir import is_kind
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.keep_packed import KeepPacked
from tests import kernels
from tests.linear_examples import before_and_after

PACKED = """
linear @packed lanes m x 4
axis m : rows task 16 panel 8 tile 2 vectors 2 unroll 2
axis e : columns task 8 tile 2 vectors 2 unroll 2
axis d = 8 : contraction tile 2 vectors 2 unroll 2
input %x : f32[m][d]
input %w : f32[e][d]
output %y : f32[e][m] order 0 1
parallel e step 8 {
  parallel m step 16 {
    for m step 8 {
      buffer %x.packed.buffer : f32[d:8][m:8]
      for d step 4 {
        %x.packed = load %x : f32[d m]
        store %x.packed.buffer %x.packed : f32[d m]
      }
      for e step 2 {
        %s = fill {value=0.0} : f32[e m]
        for d step 2 {
          %x.packed = load %x.packed.buffer : f32[d m]
          %w.tile = load %w : f32[e d]
          %s = fma %w.tile %x.packed %s {over=(d)} : f32[e m]
        }
        store %y %s : f32[e m]
      }
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(KeepPacked(), PACKED))


def _kept(text: str) -> list[tuple[str, ...]]:
    lir = KeepPacked().run(parse_linear(text))
    assert parse_linear(print_linear(lir)) == lir
    return [s.at for s, _ in lir.walk() if is_kind(s, "once")]


def test_only_what_several_tasks_want() -> None:
    assert _kept(PACKED) == [("m",)]
    assert _kept(PACKED.replace("input %x : f32[m][d]", "input %x : f32[e][m][d]")) == []
    assert _kept(PACKED.replace("axis d = 8 : contraction", "axis d = 8 : stream")) == []


@pytest.mark.parametrize("schedule", [Schedule.ROWS, Schedule.OUTPUTS])
@pytest.mark.parametrize("row", kernels.SMALL)
def test_many_tasks_of_a_worker(row: str, schedule: Schedule) -> None:
    """Panels come in turn and again: what is kept is never another's."""
    target = kernels.SMALL[row]
    subgraph = model_graphs.linear(40, 200, gelu=False)
    lir = lower(subgraph, target, schedule=schedule)
    verify(lir, final=True)
    run = kernels.launcher_of(lir, target)
    for rows in (1, target.lanes, 3 * target.lanes + 1, 70):
        x, w, b = torch.randn(rows, 40), torch.randn(200, 40), torch.randn(200)
        for _ in range(2):
            want = kernels.expected(subgraph, [x, w, b], [])
            np.testing.assert_allclose(kernels.results(run, [x, w, b], []), want, atol=1e-4)
            x = x + 1


def test_what_may_not_be_kept_is_named() -> None:
    target = kernels.SMALL["portable"]
    text = print_linear(lower(model_graphs.linear(40, 80), target, schedule=Schedule.ROWS))
    assert "once m {" in text
    for wrong, message in (
        ("once m k {", "no loop over axis k"),
        ("once n {", "other places along"),
    ):
        with pytest.raises(VerificationError, match=message):
            verify(parse_linear(text.replace("once m {", wrong)), final=True)
