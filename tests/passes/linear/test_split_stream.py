"""SplitStream: chunks of a streamed axis become tasks, and the last of them merges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.errors import VerificationError
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.loop_nest import split_loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear import serving
from snipjit.passes.linear.split_stream import SplitStream
from tests.linear_examples import (
    BY_COLUMNS,
    EXAMPLES,
    TINY,
    before_and_after,
    canonical,
    final,
)

UNSPLIT = ["attention_weights", "linear", "layers", "dequantized"]
"""Two loops: the second needs what the first has found in all chunks."""

ONLINE = """
linear @g lanes n e x 4
axis m : rows task 8 panel 4 tile 4 vectors 8 unroll 2
axis n : stream chunk 8 block 8 tile 4 vectors 8 unroll 2
axis e = 6 : columns tile 4 vectors 8 unroll 2
input %s : f32[m][n]
input %v : f32[n][e]
output %y : f32[m][e] order 0 1
output %z : f32[m] order 0
parallel m step 4 {
  %x = fill {value=-inf} : f32[m]
  %o = fill {value=0.0} : f32[m e]
  %l = fill {value=0.0} : f32[m]
  %q = fill {value=0.0} : f32[m]
  %x.last = fill {value=0.0} : f32[m]
  for n carries %x larger part %x.part safe %x.safe scale %scale last %x.last and %o sum by %x
        and %l sum part %l.part by %x and %q sum part %q.part step 8 {
    %t = tanh %s : f32[m n]
    %x.part = reduce %t {monoid=larger, over=(n)} : f32[m]
    %x.new = larger %x %x.part : f32[m]
    %x.safe = safe %x.new : f32[m]
    %moved = sub %x %x.safe : f32[m]
    %scale = exp %moved : f32[m]
    %x = larger %x %x.part : f32[m]
    %x.last = larger %x.new %x.new : f32[m]
    %c = sub %t %x.safe : f32[m n]
    %p = exp %c : f32[m n]
    %o = mul %o %scale : f32[m e]
    %o = brgemm %p %v %o {over=(n)} : f32[m e]
    %l = mul %l %scale : f32[m]
    %l.part = reduce %p {monoid=sum, over=(n)} : f32[m]
    %l = add %l %l.part : f32[m]
    %q.part = reduce %t {monoid=sum, over=(n)} : f32[m]
    %q = add %q %q.part : f32[m]
  }
  %r = div %o %l : f32[m e]
  store %y %r : f32[m e]
  %f = add %q %x.last : f32[m]
  store %z %f : f32[m]
}
"""

UPDATE = "%q = add %q %q.part : f32[m]"


def split(text: str) -> LinearIR:
    lir = SplitStream().run(parse_linear(text))
    verify(lir)
    return lir


def is_split(text: str) -> bool:
    return split_loop(split(text)) is not None


def test_which_examples_go_by_columns() -> None:
    assert [name for name in EXAMPLES if len(serving(canonical(name), TINY)) > 1] == BY_COLUMNS


@pytest.mark.parametrize("name", BY_COLUMNS)
def test_which_examples_are_split(name: str) -> None:
    lir = final(name, schedule=Schedule.COLUMNS)
    assert (split_loop(lir) is None) == (name in UNSPLIT)


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(SplitStream(), ONLINE))


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 16, 17, 100, 600])
def test_chunks_merge_to_the_same(columns: int) -> None:
    random = np.random.default_rng(columns)
    tensors = [4 * random.standard_normal((6, columns)), random.standard_normal((columns, 6))]
    before = interpret(parse_linear(ONLINE), tensors)
    for one, two in zip(before, interpret(split(ONLINE), tensors), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("monoid", ["sum", "max", "min"])
def test_every_monoid(monoid: str) -> None:
    combine, identity = {
        "sum": ("add", "0.0"), "max": ("maximum", "-inf"), "min": ("minimum", "inf"),
    }[monoid]  # fmt: skip
    text = ONLINE.replace("reduce %t {monoid=sum", f"reduce %t {{monoid={monoid}")
    text = text.replace("%q sum part", f"%q {monoid} part")
    text = text.replace(UPDATE, f"%q = {combine} %q %q.part : f32[m]")
    text = text.replace("%q = fill {value=0.0}", f"%q = fill {{value={identity}}}")
    assert is_split(text)
    tensors = [np.random.default_rng(0).standard_normal((6, 60)), np.ones((60, 6))]
    before = interpret(parse_linear(text), tensors)
    for one, two in zip(before, interpret(split(text), tensors), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (UPDATE, f"{UPDATE} store %z %q : f32[m]"),
        ("%q = fill {value=0.0}", "%0 = fill {value=0.0} : f32[m] %q = neg %0"),
        ("%f = add %q %x.last", "%f = add %q %moved"),
        ("  %r = div", "  for n step 8 { %u = tanh %s : f32[m n] }\n  %r = div"),
        ("axis n :", "axis n = 15 :"),
        ("axis e = 6", "axis e = 20000"),
    ],
)  # fmt: skip
def test_what_has_no_merge_stays_whole(old: str, new: str) -> None:
    text = ONLINE.replace(old, new)
    assert text != ONLINE
    assert is_split(ONLINE)
    assert not is_split(text)
    assert SplitStream().run(parse_linear(text)) == parse_linear(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (UPDATE, "%q = mul %q %q.part : f32[m]", "%q is not combined as a sum"),
        (UPDATE, "%q = add %q.part %q : f32[m]", "%q is not combined as a sum"),
        (UPDATE, f"{UPDATE} %q = add %q %x.new : f32[m]", "%q is not combined as a sum"),
        (UPDATE, f"%q = mul %q %scale : f32[m] {UPDATE}", "%q is not combined as a sum"),
        ("%l = mul %l %scale : f32[m]", "", "%l is not scaled and combined as a sum"),
        ("%o = mul %o %scale", "%o = mul %o %moved", "%o is not scaled and combined as a sum"),
        ("%q sum part", "%q product part", "%q is in no known monoid: one of sum"),
        ("%q.part step", "%q.part by %l step", "%q follows %l, which is no maximum of the loop"),
        (" scale %scale", "", "%x has no scale"),
        (" scale %scale", " scale %moved", "is not scaled and combined"),
        ("%q = fill {value=0.0}", "%q = fill {value=1.0}", "%q does not begin with the identity"),
    ],
)
def test_states_are_what_the_loop_does(old: str, new: str, message: str) -> None:
    text = ONLINE.replace(old, new)
    assert text != ONLINE
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text))
