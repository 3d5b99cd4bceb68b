"""Kernels whose buffers share memory: nothing is overwritten before it is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.allocate_buffers import AllocateBuffers
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.passes.linear.insert_specific_iterations import InsertSpecificIterations
from snipjit.target.target_machine import TargetMachine
from tests.kernels import ROWS, launcher_of

TWO_BUFFERS = """
linear @g lanes m x {lanes}
axis m
axis n
input %x : f32[n][m]
input %z : f32[n][m]
output %y : f32[n][m] order 0 1
output %w : f32[n][m] order 0 1
parallel m step {panel} {{
  for n step 8 {{
    for m step {panel} {{
      buffer %a : f32[n:8][m:{panel}]
      buffer %c : f32[n:8][m:{panel}]
      buffer %b : f32[n:8][m:{panel}]
      for n step 4 {{
        %0 = load %x : f32[n m]
        %1 = neg %0 : f32[n m]
        store %a %1 : f32[n m]
        %2 = load %z : f32[n m]
        %3 = neg %2 : f32[n m]
        store %c %3 : f32[n m]
      }}
      for n step 4 {{
        %4 = load %a : f32[n m]
        %5 = exp %4 : f32[n m]
        %6 = load %c : f32[n m]
        %7 = exp %6 : f32[n m]
        store %b {stored} : f32[n m]
        %8 = sub %5 %7 : f32[n m]
        store %y %8 : f32[n m]
      }}
      for n step 4 {{
        %9 = load %b : f32[n m]
        store %w %9 : f32[n m]
      }}
    }}
  }}
}}
"""


def finished(stored: str, target: TargetMachine) -> LinearIR:
    """The IR with offsets, tails and ports."""
    text = TWO_BUFFERS.format(lanes=target.lanes, panel=2 * target.lanes, stored=stored)
    lir = parse_linear(text)
    for step in (AllocateBuffers(), InsertSpecificIterations(), InitLoops()):
        lir = step.run(lir)
    verify(lir, final=True)
    return lir


@pytest.mark.parametrize("target", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("stored", ["%7", "%5"])
def test_values_are_read_before_their_place_is_taken(stored: str, target: TargetMachine) -> None:
    lir = finished(stored, target)
    offsets = [buffer.offset for buffer in lir.buffers().values()]
    assert len(set(offsets)) == 2
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((13, 21)).astype(np.float32) for _ in range(2)]
    results = launcher_of(lir, target)(*map(torch.from_numpy, inputs))
    for result, expected in zip(results, interpret(lir, inputs), strict=True):
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)
