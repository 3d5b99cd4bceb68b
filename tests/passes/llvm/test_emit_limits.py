"""emit_limits: where a loop begins and ends by limits of its own axis, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snipjit.ir.interpret.linear import interpret
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.init_loops import InitLoops
from tests.kernels import TARGETS, launcher_of

WRITTEN = """
linear @g lanes m x 4
axis b
axis n
axis m
input %x : f32[b][n][m]
output %y : f32[b][m] order 0 1
scalar %s
scalar %t
parallel b step 1 {
  parallel m step 16 {
    %on = lt %t %s : i1[]
    for m step 16 masked {
      %a = fill {value=0.0} : f32[b m]
      store %y %a : f32[b m]
    }
    buffer %sum : f32[m:16] at 0
    for m step 16 masked { %z = fill {value=0.0} : f32[b m] ; store %sum %z : f32[b m] }
    for n where LIMITS step 8 {
      for m step 16 masked {
        %c = load %sum : f32[b m]
        for n step 4 {
          %x.tile = load %x : f32[b n m]
          %h = horizon %x.tile {monoid=sum, over=(n)} : f32[b m]
          %c = add %c %h : f32[b m]
        } tail 2 {
          %x.tile = load %x : f32[b n m]
          %h = horizon %x.tile {monoid=sum, over=(n)} : f32[b m]
          %c = add %c %h : f32[b m]
        } tail 1 {
          %x.tile = load %x : f32[b n m]
          %h = horizon %x.tile {monoid=sum, over=(n)} : f32[b m]
          %c = add %c %h : f32[b m]
        }
        store %sum %c : f32[b m]
      }
    }
    for m step 16 masked { %o = load %sum : f32[b m] ; store %y %o : f32[b m] }
  }
}
"""
"""Sums over n, as far as the limits reach; %on is true if %t < %s."""
LIMITS = (
    "n upto m + 3",
    "n from m - 2 + %s",
    "n from m - 9 and n upto m + 0 + %s",
    "n upto + 4 + %s",
    "n from + 1 + %s - %t",
    "n from m - 2 + %s when %on and n upto m + 0 when %on",
)


@pytest.mark.parametrize("limits", LIMITS)
def test_own_limits(limits: str) -> None:
    lir = InitLoops().run(parse_linear(WRITTEN.replace("LIMITS", limits)))
    verify(lir, final=True)
    run = launcher_of(lir, TARGETS["portable"])
    random = np.random.default_rng(0)
    for columns in (0, 1, 7, 8, 33):
        for s, t in ((0.0, 5.0), (6.5, 0.0), (-9.0, -20.0), (100.0, 1e9)):
            x = random.standard_normal((2, columns, 4))
            (want,) = interpret(lir, [x], [s, t])
            found = run(torch.from_numpy(x).float(), s, t)
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
