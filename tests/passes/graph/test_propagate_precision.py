"""PropagatePrecision: roundings between operations go, those of results stay behind layouts."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.verify.subgraph import verify_between, verify_positional
from snipjit.passes.graph.propagate_precision import PropagatePrecision
from tests import kernels
from tests.narrow import HALVES, narrowed
from tests.passes.graph.support import examples, lines, rewritten
from tests.subgraphs import ALL

BEFORE = """
    subgraph @g
    axis m
    axis n
    axis d
    axis e
    %q = parameter : bf16[m][d]
    %k = parameter : bf16[d][n]
    %v = parameter : bf16[n][e]
    %b = parameter : bf16[n]
    %s = matmul %q %k : f32[m][n]
    %r = to_bf16 %s : bf16[m][n]
    %w = to_f32 %r : f32[m][n]
    %c = to_f32 %b : f32[n]
    %a = add %w %c : f32[m][n]
    %x = to_bf16 %a : bf16[m][n]
    %o = matmul %x %v : f32[m][e]
    %y = to_bf16 %o : bf16[m][e]
    %t = transpose %y {order=(1, 0)} : bf16[e][m]
    %z = result %t {order=(0, 1)} : bf16[e][m]
"""
AFTER = """
    subgraph @g
    axis m
    axis n
    axis d
    axis e
    %q = parameter : bf16[m][d]
    %k = parameter : bf16[d][n]
    %v = parameter : bf16[n][e]
    %b = parameter : bf16[n]
    %s = matmul %q %k : f32[m][n]
    %r = to_bf16 %s : bf16[m][n]
    %c = to_f32 %b : f32[n]
    %a = add %s %c : f32[m][n]
    %x = to_bf16 %a : bf16[m][n]
    %o = matmul %a %v : f32[m][e]
    %y = to_bf16 %o : bf16[m][e]
    %t.wide = transpose %o {order=(1, 0)} : f32[e][m]
    %t = to_bf16 %t.wide : bf16[e][m]
    %z = result %t {order=(0, 1)} : bf16[e][m]
"""
"""Roundings that nothing reads are left to EliminateDeadNodes."""


@pytest.mark.parametrize("dtype", HALVES)
@examples
def test_what_is_left_is_nearer_to_float64(example: str, dtype: str) -> None:
    """The sum of errors falls: a single element may be lucky with several roundings."""
    exact = ALL[example]()
    before = narrowed(exact, dtype)
    verify_positional(before)
    after: Subgraph = PropagatePrecision().run(before)
    verify_between(after)
    tensors, scalars = kernels.inputs(before, {"m": 13, "n": 17, "d": 8, "e": 8})
    arrays = [kernels.array(tensor) for tensor in tensors]
    right, one, two = (interpret(each, arrays, scalars) for each in (exact, before, after))
    for want, rounded, wide in zip(right, one, two, strict=True):
        assert np.abs(wide - want).sum() <= np.abs(rounded - want).sum() + 1e-9


def test_before_and_after() -> None:
    assert rewritten(PropagatePrecision(), BEFORE) == lines(AFTER)


def test_factors_of_two_types_stay_converted() -> None:
    text = """
        subgraph @g
        axis m
        axis n
        axis d
        %q = parameter : bf16[m][d]
        %k = parameter : f16[d][n]
        %a = to_f32 %q : f32[m][d]
        %b = to_f32 %k : f32[d][n]
        %s = matmul %a %b : f32[m][n]
        %z = result %s {order=(0, 1)} : f32[m][n]
    """
    assert rewritten(PropagatePrecision(), text) == lines(text)


def test_a_rounding_to_another_type_begins_with_the_exact_value() -> None:
    before = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %a = to_bf16 %x : bf16[m]
        %b = to_f32 %a : f32[m]
        %c = to_f16 %b : f16[m]
        %z = result %c {order=(0)} : f16[m]
    """
    after = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %a = to_bf16 %x : bf16[m]
        %c = to_f16 %x : f16[m]
        %z = result %c {order=(0)} : f16[m]
    """
    assert rewritten(PropagatePrecision(), before) == lines(after)
