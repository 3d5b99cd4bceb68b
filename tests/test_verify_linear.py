"""What is legal in LinearIR at every stage: each rule is broken once."""

from __future__ import annotations

from typing import Any

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.expression import MOVES, Expression, ValueType
from snipjit.ir.linear_operations import RULES, rule_of
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.target.target_machine import TARGETS
from tests.kernels import ROWS, in_turn
from tests.linear_examples import EXAMPLES, TINY, canonical, final

GOOD = """
linear @g lanes m x 4
axis m
axis n
axis d = 8
input %q : f32[d][m]
input %k : f32[n][d]
input %keep : i1[n]
output %y : f32[n][m] order 0 1
output %z : f32[m] order 0
scalar %scale
parallel m step 16 {
  buffer %b : f32[m:16]
  for n step 8 {
    %s = brgemm %q %k {over=(d)} : f32[n m]
    %t = mul %s %scale : f32[n m]
    %low = fill {value=-inf} : f32[]
    %u = where %keep %t %low : f32[n m]
    %i = iota {axis=n} : i32[n]
    %x = reduce %u {monoid=max, over=(n)} : f32[m]
    store %b %x : f32[m]
    %v = load %q : f32[d m]
    store %y %u : f32[n m]
  }
  store %z %x : f32[m]
}
"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stage_is_legal(name: str) -> None:
    run_pipeline(pipeline(TINY), canonical(name), verify=verify)
    verify(final(name), final=True)


@pytest.mark.parametrize(("name", "target"), in_turn(EXAMPLES, [row.name for row in TARGETS]))
def test_final_forms_of_real_targets_are_legal(name: str, target: str) -> None:
    verify(final(name, ROWS[target]), final=True)


def test_every_operation_has_a_rule() -> None:
    moves, sums = (
        {*MOVES, "claim", "fill", "iota"},
        {"fma", "sum_lanes", "horizon", "brgemm", "reduce"},
    )
    assert set(RULES) == {*moves, *sums}
    assert all(rule_of(op) is not None for op in (*RULES, *ELEMENTWISE))


def test_the_example_is_legal() -> None:
    verify(parse_linear(GOOD))


FAULTS = [
    # The head.
    ("lanes m x 4", "lanes w x 4", "the lanes axis w is not declared"),
    ("lanes m x 4", "lanes m x 0", "the vector width must be at least 1"),
    ("axis d = 8", "axis d = 0", "axis d has size 0: at least 1"),
    ("%q : f32[d][m]", "%q : f32[d][w]", "%q has unknown axes: w"),
    ("%q : f32[d][m]", "%q : f32[d][m d]", "%q has an axis twice"),
    ("scalar %scale", "scalar %q", "%q is declared twice"),
    ("%y : f32[n][m] order 0 1", "%y : f32[n][m] order 0 0", "the order of %y must list each"),
    ("%z : f32[m] order 0", "%z : f32[m]", "the order of %z must list each"),
    ("  store %z %x : f32[m]\n}", "}", "nothing stores the output %z"),
    # Loops.
    ("for n step 8", "for w step 8", "the loop has unknown axes: w"),
    ("for n step 8", "parallel n step 8", "a parallel loop must stand alone"),
    ("for n step 8", "for n step 8 masked", "only lanes axes \\(m\\) can be masked"),
    ("parallel m step 16 {", "parallel m step 64 { parallel m step 16 {", "two parallel loops"),
    # Names.
    ("mul %s %scale", "mul %s %nothing", "%nothing is not defined before it is used"),
    ("%t = mul %s", "%t = mul %u", "%u is not defined before it is used"),
    ("%t = mul", "%q = mul", "%q is the name of an input"),
    ("%t = mul %s %scale", "%t = mul %s %b", "%b is memory: load it first"),
    ("%t = mul %s %scale", "%t = mul %s %y", "the output %y cannot be read"),
    ("%low = fill {value=-inf} : f32[]", "%s = fill {value=-inf} : f32[]", "%s is f32.n m. else"),
    ("buffer %b : f32[m:16]", "buffer %s : f32[m:16]", "%s is the name of a buffer"),
    ("  buffer %b : f32[m:16]", "", "%b is not defined before it is used"),
    # Operations and attributes.
    ("%t = mul", "%t = mull", "unknown operation mull"),
    ("mul %s %scale", "mul %s %scale %scale", "mul takes 2 operands, not 3"),
    ("brgemm %q %k", "brgemm %q", "brgemm takes 2 or 3 operands, not 1"),
    ("{monoid=max, over=(n)}", "{over=(n)}", "reduce needs the attributes monoid"),
    ("{monoid=max, over=(n)}", "{monoid=mean, over=(n)}", "unknown monoid; known: sum, max"),
    ("mul %s %scale", "mul %s %scale {over=(n)}", "mul has no attributes over"),
    ("{value=-inf}", "{value=low}", "the value must be a number"),
    ("{axis=n} : i32[n]", "{axis=m} : i32[n]", "an iota is i32 and has its axis"),
    # Axes.
    ("{over=(d)} : f32[n m]", "{over=()} : f32[n m]", "is empty"),
    ("{over=(d)} : f32[n m]", "{over=(d, w)} : f32[n m]", "over has unknown axes: w"),
    ("{over=(d)} : f32[n m]", "{over=(d, n)} : f32[n m]", "axes n cannot be combined and stay"),
    ("{monoid=max, over=(n)}", "{monoid=max, over=(d)}", "%u has axes n, which the result lacks"),
    ("{monoid=max, over=(n)}", "{monoid=max, over=(n, d)}", "no operand has axes d"),
    ("mul %s %scale : f32[n m]", "mul %s %scale : f32[m]", "%s has axes n, which the result"),
    ("mul %s %scale : f32[n m]", "mul %s %scale : f32[m n]", "the axes must stand as .n m."),
    ("brgemm %q %k {over=(d)}", "brgemm %q %k %q {over=(d)}", "the accumulator %q has an axis"),
    # Element types.
    ("where %keep %t %low", "where %t %t %low", "where takes i1, not f32"),
    ("where %keep %t %low", "where %keep %t %keep", "operands of different element types f32, i1"),
    ("mul %s %scale", "mul %s %keep", "operands of different element types f32, i1"),
    ("%t = mul %s %scale : f32", "%t = lt %s %scale : f32", "the result of lt is i1"),
    ("%t = mul %s %scale : f32", "%t = or %s %scale : i1", "or takes i1, not f32"),
    ("brgemm %q %k", "brgemm %q %keep", "brgemm takes f32, not f32, i1"),
    # Moves.
    ("load %q : f32[d m]", "load %t : f32[d m]", "%t is no input or buffer"),
    ("load %q : f32[d m]", "load %q : i32[d m]", "%q holds f32"),
    ("load %q : f32[d m]", "load %q : f32[m]", "%q has the axes .d m."),
    ("store %b %x", "%w = store %b %x", "a store has no output"),
    ("store %b %x", "store %q %x", "%q is no output or buffer"),
    ("store %y %u", "store %y %i", "%y holds f32, %i is i32"),
    ("store %z %x : f32[m]", "store %z %u : f32[m]", "%u has other axes"),
    ("store %y %u : f32[n m]", "store %y %x : f32[m]", "%y has the axes .n m."),
    ("%v = load", "load", "load needs an output"),
    # Buffers.
    ("buffer %b : f32[m:16]", "buffer %b : f32[w:16]", "%b has unknown axes: w"),
    ("buffer %b : f32[m:16]", "buffer %b : f32[m:0]", "an extent must be at least 1"),
    (
        "    store %b %x",
        "    buffer %b : f32[m:8]\n    store %b %x",
        "%b is declared differently elsewhere",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_each_rule(old: str, new: str, message: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    text += "}" * (text.count("{") - text.count("}"))
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text))


def test_a_parallel_axis_is_not_combined() -> None:
    text = GOOD.replace("parallel m step 16 {", "parallel n step 8 {").replace("for n", "for m")
    text = text.replace("[m:16]", "[n:8][m:16]")
    with pytest.raises(VerificationError, match="axis n is combined in a parallel loop over it"):
        verify(parse_linear(text))


def test_the_error_shows_the_ir_around_the_fault() -> None:
    with pytest.raises(VerificationError) as error:
        verify(parse_linear(GOOD.replace("mul %s %scale", "mul %s %nothing")))
    lines = str(error.value).splitlines()
    assert lines[0] == "g: %nothing is not defined before it is used"
    assert ">   15 |     %t = mul %s %nothing : f32[n m]" in lines
    assert "    12 |   buffer %b : f32[m:16]" in lines


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mul %s", "mul %s", "brgemm must be lowered before emission"),
        ("%s = brgemm %q %k {over=(d)}", "%s = mul %q %q", "%q is memory: load it first"),
    ],
)
def test_what_emission_does_not_take(old: str, new: str, message: str) -> None:
    text = GOOD.replace(old, new).replace("%q : f32[d][m]", "%q : f32[n][m]")
    text = text.replace("    %v = load %q : f32[d m]\n", "").replace(
        "%k : f32[n][d]", "%k : f32[d]"
    )
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text), final=True)


def test_verification_does_not_change_the_ir() -> None:
    lir = final("two_values")
    verify(lir, final=True)
    assert lir == final("two_values")


def test_any_pass_may_be_followed_by_the_verifier() -> None:
    seen: list[str] = []

    def note(step: Pass, lir: object) -> None:
        seen.append(step.name)

    run_pipeline(pipeline(TINY), canonical("mlp"), verify=verify, dump=note)
    assert seen == [step.name for step in pipeline(TINY)]


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("bregmm", {"over": ("n",)}, "unknown operation bregmm"),
        ("reduce", {"monoids": "sum"}, "reduce has no attributes monoids"),
        ("exp", {"precison": "bf16"}, "exp has no attributes precison"),
    ],
)
def test_misspelt_names_are_errors_when_an_expression_is_built(
    op: str, attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(VerificationError, match=message):
        Expression(op, "x", ("a",), ValueType("f32"), attrs)
