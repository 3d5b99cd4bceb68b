"""LimitLoops: what an index condition hides from every reduction is not computed."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from snipjit.compiler import lower, optimize
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import LinearIR, Loop
from snipjit.ir.loop_limits import Limit
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.linear.limit_loops import LimitLoops
from snipjit.runtime.launcher import Launcher
from snipjit.target.target_machine import TargetMachine
from tests import kernels, subgraphs
from tests.kernels import TARGETS
from tests.linear_examples import TINY, before_and_after

HIDDEN = """
linear @g lanes m x 4
axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
input %s : f32[n][m]
output %y : f32[m] order 0
output %z : f32[m] order 0
parallel m step 16 {
  %low = fill {value=-inf} : f32[]
  for m step 8 {
    %i = iota {axis=m} : i32[m]
    %x = fill {value=-inf} : f32[m]
  }
  for n carries %x max part %x.part step 8 {
    %j = iota {axis=n} : i32[n]
    for m step 8 {
      %c = ge %i %j : i1[n m]
      %t = where %c %s %low : f32[n m]
      %x.part = reduce %t {monoid=max, over=(n)} : f32[m]
      %x = maximum %x %x.part : f32[m]
    }
  }
  for m step 8 {
    store %y %x : f32[m]
    store %z %x : f32[m]
  }
}
"""
SCORES = """
    subgraph @attention
    axis h
    axis m
    axis d = 8
    axis n
    axis e = 8
    %q = parameter : f32[h][m][d]
    %k = parameter : f32[h][n][d]
    %v = parameter : f32[h][n][e]
    %i = iota {axis=m} : i32[m]
    %j = iota {axis=n} : i32[n]
    %three = constant {value=3} : i32
    %low = constant {value=-inf} : f32
    %0 = brgemm %q %k {over=(d)} : f32[h][m][n]
    CONDITION
    %2 = where %c %0 %low : f32[h][m][n]
    %3 = reduce %2 {monoid=larger, over=(n)} : f32[h][m]
    %5 = safe %3 : f32[h][m]
    %6 = sub %2 %5 : f32[h][m][n]
    %7 = exp %6 : f32[h][m][n]
    %8 = brgemm %7 %v {over=(n)} : f32[h][m][e]
    %r0 = result %8 {order=(0, 1, 2)} : f32[h][m][e]
"""
BACK = "%b = sub %i %three : i32[m] %c = CMP %j %b : i1[m][n]"
CONDITIONS = {
    "%c = ge %i %j : i1[m][n]": ["n upto m + 0"],
    "%c = lt %j %i : i1[m][n]": ["n upto m - 1"],
    "%b = le %i %j : i1[m][n] %c = not %b : i1[m][n]": ["n upto m - 1"],
    "%c = eq %i %j : i1[m][n]": ["n from m + 0", "n upto m + 0"],
    BACK.replace("CMP", "gt"): ["n from m - 2"],
    BACK.replace("CMP", "le"): ["n upto m - 3"],
    "%a = le %j %i : i1[m][n] %g = add %j %three : i32[n] %b = gt %g %i : i1[m][n] "
    "%c = and %a %b : i1[m][n]": ["n from m - 2", "n upto m + 0"],
    "%a = gt %j %i : i1[m][n] %b = lt %j %three : i1[n] %o = or %a %b : i1[m][n] "
    "%c = not %o : i1[m][n]": ["n upto m + 0"],
    "%a = ge %i %j : i1[m][n] %b = lt %j %three : i1[n] %c = or %a %b : i1[m][n]": [],
    "%g = add %i %j : i32[m][n] %c = ge %g %three : i1[m][n]": [],
    "%c = ne %i %j : i1[m][n]": [],
}


def masked(condition: str) -> Subgraph:
    return parse_subgraph(SCORES.replace("CONDITION", condition))


def limits(lir: LinearIR) -> list[str]:
    found = {re.split(" carries | step ", line.split(" where ")[1])[0] for line in heads(lir)}
    return sorted(part for line in found for part in line.split(" and "))


def heads(lir: LinearIR) -> list[str]:
    return [line for line in print_linear(lir).splitlines() if "for m where" in line]


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(LimitLoops(), HIDDEN))


@pytest.mark.parametrize(("condition", "wanted"), CONDITIONS.items())
def test_conditions(condition: str, wanted: list[str]) -> None:
    lir = lower(masked(condition), TINY)
    assert limits(lir) == wanted
    assert parse_linear(print_linear(lir)) == lir
    random = np.random.default_rng(0)
    for m, n in ((1, 1), (13, 5), (9, 37), (33, 33)):
        shapes = ((2, m, 8), (2, n, 8), (2, n, 8))
        tensors = [random.standard_normal(shape) for shape in shapes]
        want = interpret_subgraph(masked(condition), tensors, [])[0]
        np.testing.assert_allclose(interpret(lir, tensors, [])[0], want, rtol=1e-9, atol=1e-11)


SCALAR_CONDITIONS = {
    "%b = add %x %s : f32[m] %c = le %y %b : i1[m][n]": ["n upto m + 0 + %s"],
    "%b = sub %x %s : f32[m] %c = gt %y %b : i1[m][n]": ["n from m + 1 - %s"],
    "%b = sub %y %x : f32[m][n] %a = gt %b %s : i1[m][n] %c = not %a : i1[m][n]": [
        "n upto m + 0 + %s"
    ],
    "%b = neg %x : f32[m] %a = add %y %b : f32[m][n] %g = add %a %s : f32[m][n] "
    "%z = constant {value=2} : f32 %c = lt %g %z : i1[m][n]": ["n upto m + 1 - %s"],
    "%b = mul %x %s : f32[m] %c = le %y %b : i1[m][n]": [],
    "%b = add %x %s : f32[m] %a = add %b %s : f32[m] %c = le %y %a : i1[m][n]": [],
}
NUMBERS = (0, 7, -3, 2.5, -2.5, 40, -1e9, 3e38, float("nan"), float("inf"), -float("inf"))


def masked_by_scalar(condition: str) -> Subgraph:
    indices = "%x = to_f32 %i : f32[m] %y = to_f32 %j : f32[n]"
    text = SCORES.replace("CONDITION", f"{indices} {condition}")
    return parse_subgraph(text.replace("    %i =", "    %s = scalar : f32\n    %i ="))


@pytest.mark.parametrize(("condition", "wanted"), SCALAR_CONDITIONS.items())
def test_scalars_in_conditions(condition: str, wanted: list[str]) -> None:
    subgraph = masked_by_scalar(condition)
    lir = lower(subgraph, TINY)
    assert limits(lir) == wanted
    assert parse_linear(print_linear(lir)) == lir
    random = np.random.default_rng(0)
    tensors = [random.standard_normal((2, size, 8)) for size in (13, 21, 21)]
    for number in NUMBERS if wanted else (2,):
        want = interpret_subgraph(subgraph, tensors, [number])[0]
        found = interpret(lir, tensors, [number])[0]
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("dtype", "fill", "limited"),
    [
        ("f32", -3.4e38, True),
        ("f32", -65504.0, False),
        ("bf16", -65504.0, False),
        ("f16", -65504.0, True),
        ("f16", -1e4, False),
    ],
)
def test_what_added_numbers_hide(dtype: str, fill: float, limited: bool) -> None:
    """The lowest number of a model's type hides what it is added to; a higher one might not."""
    text = SCORES.replace("CONDITION", "%c = ge %i %j : i1[m][n]")
    text = text.replace(": f32[h][n][", f": {dtype}[h][n][").replace("value=-inf", f"value={fill}")
    where = "%2 = where %c %0 %low : f32[h][m][n]"
    added = "%w = where %c %zero %low : f32[m][n] %2 = add %0 %w : f32[h][m][n]"
    zero = "%zero = constant {value=0.0} : f32\n"
    text = text.replace(where, zero + added)
    lir = lower(parse_subgraph(text), TINY)
    assert bool(limits(lir)) == limited
    random = np.random.default_rng(0)
    tensors = [random.standard_normal((2, size, 8)) for size in (13, 21, 21)]
    (want,) = interpret_subgraph(parse_subgraph(text), tensors, [])
    np.testing.assert_allclose(interpret(lir, tensors, [])[0], want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("condition", list(SCALAR_CONDITIONS)[:2])
def test_kernels_of_scalar_conditions(condition: str) -> None:
    subgraph, target = masked_by_scalar(condition), TARGETS["avx2"]
    run = kernels.launcher_of(lower(subgraph, target), target)
    for number in NUMBERS:
        for m, n in ((1, 130), (70, 130)):
            q, k, v = (torch.randn(2, size, 8) for size in (m, n, n))
            kernels.assert_right(run, subgraph, [q, k, v], [number])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_kernels_of_a_window(target: TargetMachine) -> None:
    condition = list(CONDITIONS)[6].replace("%three", "%wide")
    text = f"%wide = constant {{value=70}} : i32 {condition}"
    run = kernels.launcher_of(lower(masked(text), target), target)
    for m, n in ((1, 1), (17, 130), (300, 301), (200, 31), (0, 5), (5, 0)):
        q, k, v = (torch.randn(2, size, 8) for size in (m, n, n))
        kernels.assert_right(run, masked(text), [q, k, v], [])


def test_hidden_keys_are_not_looked_at() -> None:
    subgraph = optimize(subgraphs.sdpa(causal=True, D=8, scale=False))
    target = TARGETS["avx2"]
    run: Launcher = kernels.launcher_of(lower(subgraph, target), target)
    q, k, v = (torch.randn(1, 1, 200, 8) for _ in range(3))
    clean = run(q, k, v)
    k[:, :, 150:], v[:, :, 150:] = torch.nan, torch.inf
    assert isinstance(clean, torch.Tensor)
    assert torch.equal(torch.as_tensor(run(q, k, v))[:, :, :48], clean[:, :, :48])


def limited(text: str) -> set[Limit]:
    lir = parse_linear(print_linear(LimitLoops().run(parse_linear(text))))
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop)]
    return {limit for loop in loops for limit in loop.limits}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%low = fill {value=-inf}", "%low = fill {value=-10.0}"),
        ("monoid=max", "monoid=sum"),
        ("%t {monoid", "%s {monoid"),
        ("%c = ge %i %j : i1[n m]", "%c = ge %s %s : i1[n m]"),
        ("where %c %s %low", "where %c %low %s"),
    ],
)
def test_what_would_matter_stays(old: str, new: str) -> None:
    assert limited(HIDDEN) == {Limit("n", "upto", "m", 0)}
    assert old in HIDDEN
    changed = HIDDEN.replace(old, new)
    assert limited(changed) == ({Limit("n", "from", "m", 1)} if "%low %s" in new else set())
