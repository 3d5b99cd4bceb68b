"""The printed form of LinearIR: what is printed can be read back, at every stage."""

from __future__ import annotations

import copy
import math

import pytest

from snipjit.errors import ParseError
from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import STRIDE, LinearIR, Loop, LoopPort, Piece, is_kind, retry
from snipjit.ir.loop_limits import Limit
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.ir.text.linear import around, print_linear, print_statement
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import pipeline
from tests.linear_examples import EXAMPLES, TINY, canonical
from tests.retries import RETRY

EVERYTHING = """\
linear @every.thing lanes m x 16
axis b
axis m
axis d = 64
input %x : f32[b][][m d]
input %mask : i1 order
input %i : i32[b] order 0
output %y : f32[b][d m] order 1 0
scalar %scale
parallel b step 1 moves %x by stride %y by stride rewind {
  for m step 48 masked moves %y by 1 {
    buffer %s.buffer : f32[d:64][m:48] at 128
    buffer %one : i1
    %0 = fill {value=-inf} : f32[]
    %0 = fill {value=nan} : f32[]
    %0 = fill {value=1e-05} : f32[]
    %c = fill {value=3} : i32[]
    %r = horizon %s {monoid=max, over=(d)} : f32[b m]
    %a = fma %x.tile %s %a {over=(d, e)} : f32[m]
    store %y %a : f32[m]
  } tail 16 masked {
  }
  for d step 4 {
    %u = where %p %q %scale : f32[d m]
  } tail 2 moves %x by 1 rewind {
  } tail 1 {
  }
}
""".replace("input %mask : i1 order\n", "input %mask : i1\n")


def build_everything() -> LinearIR:
    """The same, by its classes."""
    over: dict[str, object] = {"monoid": "max", "over": ("d",)}
    row = ValueType("f32", ("m",))
    first: list[Expression | Buffer | Loop] = [
        Buffer("s.buffer", "f32", {"d": 64, "m": 48}, 128),
        Buffer("one", "i1", {}),
        Expression("fill", "0", (), attrs={"value": -math.inf}),
        Expression("fill", "0", (), attrs={"value": math.nan}),
        Expression("fill", "0", (), attrs={"value": 1e-5}),
        Expression("fill", "c", (), ValueType("i32"), {"value": 3}),
        Expression("horizon", "r", ("s",), ValueType("f32", ("b", "m")), over),
        Expression("fma", "a", ("x.tile", "s", "a"), row, {"over": ("d", "e")}),
        Expression("store", None, ("y", "a"), row),
    ]
    lanes = [Piece(48, first, True, [LoopPort("y", 1)]), Piece(16, [], True)]
    where = Expression("where", "u", ("p", "q", "scale"), ValueType("f32", ("d", "m")))
    rows = [Piece(4, [where]), Piece(2, [], ports=[LoopPort("x", 1, True)]), Piece(1, [])]
    ports = [LoopPort("x", STRIDE), LoopPort("y", STRIDE, True)]
    body = Piece(1, [Loop("m", lanes), Loop("d", rows)], ports=ports)
    return LinearIR(
        name="every.thing",
        lanes=("m",),
        width=16,
        axes={"b": None, "m": None, "d": 64},
        inputs=[
            Tensor("x", "f32", (("b",), (), ("m", "d"))),
            Tensor("mask", "i1", ()),
            Tensor("i", "i32", (("b",),), (0,)),
        ],
        outputs=[Tensor("y", "f32", (("b",), ("d", "m")), (1, 0))],
        scalars=["scale"],
        body=[Loop("b", [body], kind="parallel")],
    )


def test_printing() -> None:
    assert print_linear(build_everything()) == EVERYTHING


LIMITS = "where m from d - 2 + %bound when %first and m upto - 1 - %bound"


def test_retries_and_limits() -> None:
    text = RETRY.replace("for m step", f"for m {LIMITS} step")
    lir = parse_linear(text)
    assert print_linear(lir) == text
    (again,) = (s for s, _ in lir.walk() if is_kind(s, "retry"))
    (loop,) = (s for s in again.body if isinstance(s, Loop))
    assert loop.limits == (
        Limit("m", "from", "d", -2, ("bound",), when="first"),
        Limit("m", "upto", "", -1, (), ("bound",)),
    )
    assert again == retry("again", again.body)


def test_parsing() -> None:
    assert parse_linear(EVERYTHING) == build_everything()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stage_is_read_back(name: str) -> None:
    def check(step: Pass, lir: LinearIR) -> None:
        text = print_linear(lir)
        assert parse_linear(text) == lir, step.name
        assert print_linear(parse_linear(text)) == text

    run_pipeline(pipeline(TINY), canonical(name), dump=check)


def test_layout_of_the_text_is_free() -> None:
    loose = EVERYTHING.replace("\n", " \n\n  # comment\n").replace(" {", "\n{").replace("=", " = ")
    assert parse_linear(loose) == build_everything()
    assert parse_linear(" ".join(EVERYTHING.split())) == build_everything()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("linear @", "@", "line 1: expected 'linear', found '@every.thing'"),
        ("x 16", "x many", "line 1: expected the vector width, found 'many'"),
        ("d = 64", "d = -1", "line 4: expected a size, found '-1'"),
        ("input %x : f32", "input %x : f64", "line 5: expected an element type"),
        ("[m d]", "[m %d]", "line 5: expected an axis or ']', found '%d'"),
        ("by stride rewind", "by much rewind", "line 10: expected an increment or 'stride'"),
        ("step 48", "step 0", "line 11: a step must be at least 1"),
        ("[d:64]", "[d 64]", "line 12: expected ':', found '64'"),
        ("{value=-inf} : f32[]", "{value=-inf}", "line 15: expected ':', found '%0'"),
        ("value=1e-05", "value", "line 16: expected '=', found '}'"),
        ("%c = fill", "%c fill", "line 17: expected '=', found 'fill'"),
        ("store %y %a", "store y %a", "line 20: expected ':', found 'y'"),
        ("} tail 2", "} tale 2", "line 25: expected ':', found '2'"),
        ("for d step 4", "for d by 4", "line 23: expected 'step', found 'by'"),
    ],
)
def test_errors_name_and_show_the_line(old: str, new: str, message: str) -> None:
    assert old in EVERYTHING
    text = EVERYTHING.replace(old, new, 1)
    with pytest.raises(ParseError) as error:
        parse_linear(text)
    assert str(error.value).startswith(message)
    assert "\n  " in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 'linear', found the end"),
        (EVERYTHING.rstrip()[:-1], "line 27: expected '}', found the end"),
        (EVERYTHING + "}", "line 29: expected a statement, found '}'"),
    ],
)
def test_braces_must_close(text: str, message: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_linear(text)
    assert str(error.value).startswith(message)


def test_around_marks_the_fault() -> None:
    lir = build_everything()
    loop = lir.body[0]
    assert isinstance(loop, Loop)
    inner = loop.body[1]
    assert isinstance(inner, Loop)
    shown = around(lir, inner.body[0], context=1)
    assert shown == "\n".join(
        [
            "    23 |   for d step 4 {",
            ">   24 |     %u = where %p %q %scale : f32[d m]",
            "    25 |   } tail 2 moves %x by 1 rewind {",
        ]
    )


def test_around_shows_a_statement_that_is_elsewhere_alone() -> None:
    lir = build_everything()
    stray = Expression("exp", "z", ("u",), ValueType("f32", ("m",)))
    assert around(lir, stray) == print_statement(stray) == "%z = exp %u : f32[m]"
    assert copy.deepcopy(lir) == lir


JOIN = """\
linear @g lanes m x 4
axis c = 2
parallel c step 1 {
  join c moves %a by 8 %b by 1 {
    store %a %u : f32[c m]
  } last {
    for c step 1 {
      %u = load %a : f32[c m]
    }
  }
}
"""


def test_joins() -> None:
    lir = parse_linear(JOIN)
    assert print_linear(lir) == JOIN
    (loop,) = lir.body
    assert isinstance(loop, Loop)
    (join,) = loop.body
    assert is_kind(join, "join")
    assert [port.tensor for port in join.pieces[0].ports] == ["a", "b"]
    assert isinstance(join.last[0], Loop)
    with pytest.raises(ParseError, match="expected 'last'"):
        parse_linear(JOIN.replace("last", "tail 1"))
