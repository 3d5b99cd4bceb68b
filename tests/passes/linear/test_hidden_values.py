"""HiddenValues: what is known of elements that a limit cuts off, form by form."""

from __future__ import annotations

import math

import pytest

from snipjit.ir.expression import Expression
from snipjit.ir.loop_limits import Limit
from snipjit.ir.states import State
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.call_scalars import CallScalars, Scalar
from snipjit.passes.linear.hidden_values import Hidden, HiddenValues, RowTest

UPTO = Limit("n", "upto", "m", 0)
HEAD = """
linear @g lanes m x 4
axis m
axis n
input %s : f32[n][m]
output %y : f32[m] order 0
scalar %fill
%zero = fill {value=0.0} : f32[]
%one = fill {value=1.0} : f32[]
%inf = fill {value=-inf} : f32[]
%big = fill {value=-1e+38} : f32[]
%small = fill {value=-10000.0} : f32[]
%i = iota {axis=m} : i32[m]
%j = iota {axis=n} : i32[n]
%c = ge %i %j : i1[n m]
"""
WHERE = "%t = where %c %s LOW : f32[n m] "
ADDED = "%k = where %c %zero LOW : f32[n m] %t = add %s %k : f32[n m] "


def learnt(text: str) -> HiddenValues:
    """What is known after the Expressions of a panel; ``%x`` is the running maximum."""
    lir = parse_linear(HEAD + text)
    panel = [s for s in lir.body if isinstance(s, Expression)]
    definitions = {e.output or "": e for e in panel}
    scalar = Expression("scalar", "fill", ())
    known = CallScalars({**definitions, "fill": scalar, "x": None})
    values = HiddenValues(known, "n", ["m"], {"x": State("x", "larger", "x.part", safe="safe")})
    for e in panel:
        if "n" in e.type.axes:
            values.follow(e)
    return values


@pytest.mark.parametrize(
    ("text", "value", "exact"),
    [
        (WHERE.replace("LOW", "%inf"), -math.inf, True),
        (WHERE.replace("LOW", "%small"), -1e4, True),
        (WHERE.replace("LOW", "%fill"), "fill", True),
        (ADDED.replace("LOW", "%inf"), -math.inf, False),
        (ADDED.replace("LOW", "%big"), -5e37, False),
        (ADDED.replace("LOW", "%fill"), "t.cut", False),
        ("%n = not %c : i1[n m] %t = where %n %small %s : f32[n m]", -1e4, True),
        (WHERE.replace("LOW", "%small").replace("%t", "%u") + "%t = neg %u : f32[n m]", 1e4, True),
        ("%f = to_f32 %c : f32[n m] %t = sub %one %f : f32[n m]", 1.0, True),
        ("%u = where %c %s %small : f32[n m] %t = maximum %u %big : f32[n m]", -1e4, True),
        ("%u = where %c %s %big : f32[n m] %w = add %u %s : f32[n m] "
         "%t = maximum %w %small : f32[n m]", -1e4, False),
        ("%d = lt %s %zero : i1[n m] %u = where %c %s %big : f32[n m] "
         "%t = where %d %small %u : f32[n m]", -1e4, False),
    ],
)  # fmt: skip
def test_values(text: str, value: Scalar, exact: bool) -> None:
    assert learnt(text).values["t"][UPTO] == Hidden(value, exact)


@pytest.mark.parametrize(
    "text",
    [
        ADDED.replace("LOW", "%small"),
        WHERE.replace("LOW", "%s"),
        WHERE.replace("LOW", "%big").replace("%t", "%u") + "%t = mul %u %s : f32[n m]",
        "%d = lt %s %zero : i1[n m] %t = where %d %s %big : f32[n m]",
    ],
)
def test_unknown_values(text: str) -> None:
    assert UPTO not in learnt(text).values["t"]


SAFE = "%p = fill {value=0.0} : f32[m] %other = larger %x %p : f32[m] %known = safe %x : f32[m] "


@pytest.mark.parametrize(
    ("low", "maximum", "tests"),
    [
        ("%inf", "%safe", set()),
        ("%inf", "%known", set()),
        ("%inf", "%other", None),
        ("%inf", "%x", {RowTest("x", -math.inf)}),
        ("%small", "%safe", {RowTest("x", -1e4)}),
        ("%fill", "%x", {RowTest("x", "fill")}),
        ("%inf", "%p", None),
    ],
)
def test_exponentials(low: str, maximum: str, tests: set[RowTest] | None) -> None:
    text = WHERE.replace("LOW", low) + SAFE
    text += f"%d = sub %t {maximum} : f32[n m] %e = exp %d : f32[n m] %q = mul %s %e : f32[n m]"
    assert learnt(text).zeros["q"].get(UPTO) == tests
