"""What emission needs of loops and registers: each rule is broken once."""

from __future__ import annotations

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from tests.final_linear import FINAL
from tests.retries import RETRY

PANEL = "    for m step 8 masked moves %c by 1 rewind {"
EXPONENTIALS = "        for n step 1 moves %s by 8 rewind %t by 8 rewind {"
ZERO = "%a = fill {value=0.0} : f32[n]\n          "
CONTRACTION = "for d step 2 moves %w by 1 rewind %v by 1 rewind {"

REGISTERS = [
    ("mul %4 %scale", "mul %4 %x.tile", "%x.tile is defined in a loop that has ended"),
    ("store %c %sum", "store %c %zero", "%zero is defined in a loop that has ended"),
    (ZERO + CONTRACTION, CONTRACTION, "%a is not defined"),
    (PANEL, "    for b step 1 {", "stands in no tile loop over axis m"),
    (EXPONENTIALS, "        for b step 1 {", "stands in no tile loop over axis b"),
    (EXPONENTIALS, "        for d step 1 {", "stands in no tile loop over axis n"),
    ("parallel b step 1", "parallel b step 2", "stands in no tile loop over axis b"),
    (CONTRACTION, "for b step 1 {", "no loop over axis d is around load"),
]
LIMIT = "for m step 8 masked moves %x by 1 rewind"
REMAINDERS = [
    (LIMIT, LIMIT.replace("m step", "m where d upto m + 0 step"), "a loop over axis d around it"),
    (LIMIT, LIMIT.replace("m step", "m where m upto d + 0 step"), "a loop over axis d around it"),
    (LIMIT, LIMIT.replace("m step", "m where n upto b + 0 step"), "is either of or by the axis"),
    (LIMIT, LIMIT.replace("m step", "m where n upto - 1 step"), "is either of or by the axis"),
    (LIMIT, LIMIT.replace("m step", "m where m upto m - 1 step"), "is either of or by the axis"),
    (LIMIT, LIMIT.replace("m step", "m where n upto m + 0 - %no step"), "%no is no scalar"),
    ("} tail 1 moves %w", "} tail 2 moves %w", "no piece covers the rest of 1 elements of axis n"),
    (
        "for d step 2",
        "for d step 4",
        "no piece covers the rest of 6 elements of axis d",
    ),
    ("for m step 8 masked moves %c", "for m step 8 moves %c", "no piece covers the rest of 1"),
    ("for m step 8 masked moves %c", "for m step 6 masked moves %c", "must be multiples of 4"),
    (
        "      store %c %zero : f32[m]\n    }",
        "      store %c %zero : f32[m]\n    } tail 8 masked { }",
        "masked pieces must come last, with falling steps",
    ),
    ("  }\n}\n", "  } tail 1 { }\n}\n", "a block loop over axis m has no tails"),
    ("for d step 2", "for d even step 2", "an even loop has pieces of every step from 2 to 1"),
]
PORTS = [
    ("%x by 1 %y by 1 {", "%x by 1 {", "step 16 must move: %x by 1 %y by 1"),
    ("%x by 1 %y by 1 {", "%x by stride %y by 1 {", "step 16 must move: %x by 1 %y by 1"),
    ("%x by 1 %y by 1 {", "%x by 1 %y by 1 %y by 1 {", "step 16 must move: %x by 1 %y by 1"),
    ("%x by 1 %y by 1 {", "%x by 1 %y by 1 %c by 1 {", "step 16 must move: %x by 1 %y by 1"),
    ("moves %c by 1 rewind", "moves %c by 2 rewind", "step 8 must move: %c by 1"),
    ("moves %c by 1 rewind", "moves %c by 1", "step 8 must rewind %c"),
    ("%v by 1 rewind {", "%v by 1 {", "step 2 must rewind %v"),
    ("%x by stride %s by 8 {", "%x by stride rewind %s by 8 {", "step 2 must not rewind %x"),
    (EXPONENTIALS, EXPONENTIALS.replace("%s by 8", "%s by 1"), "must move: %s by 8 %t by 8"),
]
ALLOWED = [
    ("for n step 2 moves", "for n step 3 moves"),
    ("for n step 8 moves", "for n step 5 moves"),
    ("for d step 2", "for d step 3"),
    ("for d step 2", "for d step 1"),
    ("for m step 8 masked moves %c", "for m step 16 masked moves %c"),
    ("parallel m step 16", "parallel m step 12"),
    ("%x by 1 %y by 1 {", "%x by 1 rewind %y by 1 {"),
    ("%2 = exp %1", "%2 = mul %1 %sum"),
    ("axis d = 6", "axis d = 2"),
]


def test_the_example_is_legal() -> None:
    verify(parse_linear(FINAL), final=True)


@pytest.mark.parametrize(("old", "new", "message"), [*REGISTERS, *REMAINDERS, *PORTS])
def test_each_rule(old: str, new: str, message: str) -> None:
    assert old in FINAL
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(FINAL.replace(old, new, 1)), final=True)


FLAGS = [
    ("retry %again", "retry %other", "%other is not defined before it is asked"),
    ("retry %again", "retry %bound", "%bound is not defined before it is asked"),
    ("fill {value=false} : i1", "fill {value=0.0} : f32", "%again is f32, not i1"),
    ("for m step", "for m where m upto + 0 when %first step", ""),
    ("for m step", "for m where m upto + 0 when %low step", "%low is not defined before"),
    ("{monoid=any, over=(m)}", "{monoid=sum, over=(m)}", "m is combined in a parallel loop"),
    ("= lt %a %bound : i1", "= neg %a : f32", "and takes i1, not f32"),
]


@pytest.mark.parametrize(("old", "new", "message"), FLAGS)
def test_flags_of_retries_and_limits(old: str, new: str, message: str) -> None:
    assert old in RETRY
    lir = parse_linear(RETRY.replace(old, new, 1))
    if not message:
        verify(lir, final=True)
        return
    with pytest.raises(VerificationError, match=message):
        verify(lir, final=True)


@pytest.mark.parametrize(("old", "new"), ALLOWED)
def test_what_may_be_edited(old: str, new: str) -> None:
    assert old in FINAL
    verify(parse_linear(FINAL.replace(old, new, 1)), final=True)
