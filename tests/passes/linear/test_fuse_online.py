"""FuseOnline: a finished maximum becomes a running one where the algebra allows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.ir.element_types import Array
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import Loop
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.fuse_online import FuseOnline
from tests.linear_examples import after, before_and_after

SOFTMAX_PRODUCT = """
linear @g lanes m x 4
axis m
axis n
axis e = 3
input %s : f32[n][m]
input %v : f32[n][e]
output %y : f32[m] order 0
output %z : f32[m][e] order 0 1
parallel m step 16 {
  %zero = fill {value=0.0} : f32[]
  %low = fill {value=-inf} : f32[]
  %x = fill {value=-inf} : f32[m]
  for n carries %x larger part %x.part step 8 {
    %t = tanh %s : f32[n m]
    %x.part = reduce %t {monoid=larger, over=(n)} : f32[m]
    %x = larger %x %x.part : f32[m]
  }
  %l = fill {value=0.0} : f32[m]
  %o = fill {value=0.0} : f32[e m]
  for n carries %l sum part %l.part and %o sum step 8 {
    %t.1 = tanh %s : f32[n m]
    %hidden = lt %t.1 %zero : i1[n m]
    %c = sub %t.1 %x : f32[n m]
    %p = exp %c : f32[n m]
    %l.part = reduce %p {monoid=sum, over=(n)} : f32[m]
    %l = add %l %l.part : f32[m]
    %o = brgemm %p %v %o {over=(n)} : f32[e m]
  }
  store %y %l : f32[m]
  store %z %o : f32[e m]
}
"""


def streams(text: str) -> int:
    """How many loops over n are left after the pass."""
    lir = FuseOnline().run(parse_linear(text))
    verify(lir)
    return sum(isinstance(s, Loop) and s.axis == "n" for s, _ in lir.walk())


def scores(rows: int = 6, columns: int = 21) -> list[Array]:
    random = np.random.default_rng(0)
    return [4 * random.standard_normal((columns, rows)), random.standard_normal((columns, 3))]


def check_same(text: str, tensors: list[Array]) -> list[Array]:
    before = interpret(parse_linear(text), tensors)
    after = interpret(FuseOnline().run(parse_linear(text)), tensors)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    return after


@pytest.mark.parametrize(
    ("name", "loops"),
    [("attention_static", 1), ("attention_statistics", 1), ("attention_weights", 2)],
)
def test_loops_left(name: str, loops: int) -> None:
    """Statistics of scores come from the one loop; whole probabilities need the finished sum."""
    left = [s for s, _ in after(name, FuseOnline).walk() if isinstance(s, Loop) and s.axis == "n"]
    assert len(left) == loops


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(FuseOnline(), SOFTMAX_PRODUCT))


def test_two_loops_become_one() -> None:
    assert streams(SOFTMAX_PRODUCT) == 1
    check_same(SOFTMAX_PRODUCT, scores())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%l.part = reduce %p {monoid=sum", "%l.part = reduce %p {monoid=max"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = tanh %e"),
        ("%p = exp %c", "%p = sigmoid %c"),
        ("%c = sub %t.1 %x", "%c = sub %x %t.1"),
        ("%c = sub %t.1 %x", "%u = mul %t.1 %x : f32[n m] %c = sub %u %x"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = add %e %t.1"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = mul %e %e"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = div %t.1 %e"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = where %hidden %e %low"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = where %hidden %e %zero"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = where %hidden %zero %e"),
    ],
)
def test_what_does_not_commute_with_scaling_a_row_keeps_two_loops(old: str, new: str) -> None:
    text = SOFTMAX_PRODUCT.replace(old, new)
    assert text != SOFTMAX_PRODUCT
    assert streams(text) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = neg %e"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = mul %t.1 %e"),
        ("%p = exp %c", "%e = exp %c : f32[n m] %p = div %e %t.1"),
        ("step 8 {\n    %t =", "step 8 {\n    %u = neg %s : f32[n m] %t ="),
    ],
)
def test_what_commutes_with_scaling_a_row_is_fused(old: str, new: str) -> None:
    text = SOFTMAX_PRODUCT.replace(old, new)
    assert text != SOFTMAX_PRODUCT
    assert streams(text) == 1
    check_same(text, scores())


def test_a_stored_weight_keeps_two_loops() -> None:
    text = SOFTMAX_PRODUCT.replace(
        "output %y", "output %w : f32[m][n] order 0 1\noutput %y"
    ).replace("%p = exp %c : f32[n m]", "%p = exp %c : f32[n m] store %w %p : f32[n m]")
    assert streams(text) == 2


def guarded(test: str, replacement: str) -> str:
    """The example with what takes the place of a maximum that passes a test."""
    safe = f"%test = eq %x %{test} : i1[m] %x.ok = where %test %{replacement} %x : f32[m]"
    safe = "%x.ok = safe %x : f32[m]" if (test, replacement) == ("low", "zero") else safe
    text = SOFTMAX_PRODUCT.replace("  %l = fill", f"  {safe}\n  %l = fill")
    return text.replace("sub %t.1 %x", "sub %t.1 %x.ok").replace("tanh %s", "neg %s")


def test_a_program_may_avoid_infinite_maxima_itself() -> None:
    assert streams(guarded("low", "zero")) == 1
    tensors = scores()
    tensors[0][:, 2] = np.inf
    results = check_same(guarded("low", "zero"), tensors)
    assert np.isfinite(results[0]).all()


@pytest.mark.parametrize("chosen", ["%e %zero", "%zero %e"])
def test_weights_may_be_left_out_where_the_maximum_is_finite(chosen: str) -> None:
    """Of a bare maximum a hidden row would get the NaN back that the choice leaves out."""
    text = guarded("low", "zero").replace(
        "%p = exp %c", f"%e = exp %c : f32[n m] %p = where %hidden {chosen}"
    )
    assert streams(text) == 1
    tensors = scores()
    tensors[0][:, 2] = np.inf
    check_same(text, tensors)


@pytest.mark.parametrize(("test", "replacement"), [("zero", "zero"), ("low", "low")])
def test_other_replacements_of_the_maximum_keep_two_loops(test: str, replacement: str) -> None:
    assert streams(guarded(test, replacement)) == 2


TWO_STREAMS = """
linear @g lanes m e x 4
axis m : rows task 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
axis j : stream block 8 tile 4 vectors 8 unroll 2
axis e = 3 : columns tile 4 vectors 8 unroll 2
input %s : f32[n][m]
input %t : f32[j][m]
output %y : f32[m] order 0
parallel m step 8 {
  %x = fill {value=-inf} : f32[m]
  for n carries %x max part %x.part step 8 {
    %x.part = reduce %s {monoid=max, over=(n)} : f32[m]
    %x = maximum %x %x.part : f32[m]
  }
  %z = fill {value=-inf} : f32[m]
  for j carries %z max part %z.part step 8 {
    %z.part = reduce %t {monoid=max, over=(j)} : f32[m]
    %z = maximum %z %z.part : f32[m]
  }
  %top = maximum %x %z : f32[m]
  %l = fill {value=0.0} : f32[m]
  for n carries %l sum part %l.part step 8 {
    %c = sub %s %top : f32[n m]
    %p = exp %c : f32[n m]
    %l.part = reduce %p {monoid=sum, over=(n)} : f32[m]
    %l = add %l %l.part : f32[m]
  }
  %k = fill {value=0.0} : f32[m]
  for j carries %k sum part %k.part step 8 {
    %d = sub %t %top : f32[j m]
    %q = exp %d : f32[j m]
    %k.part = reduce %q {monoid=sum, over=(j)} : f32[m]
    %k = add %k %k.part : f32[m]
  }
  %r = add %l %k : f32[m]
  store %y %r : f32[m]
}
"""


@pytest.mark.parametrize("sizes", [(21, 9), (0, 9), (21, 0), (0, 0)])
def test_two_streams_have_a_loop_each(sizes: tuple[int, int]) -> None:
    """A cache and new keys: each follows its own maximum, and is brought to the larger one."""
    lir = FuseOnline().run(parse_linear(TWO_STREAMS))
    verify(lir)
    loops = [s.axis for s, _ in lir.walk() if isinstance(s, Loop) and not s.parallel]
    assert sorted(loops) == ["j", "n"]
    random = np.random.default_rng(0)
    one, two = (4 * random.standard_normal((size, 6)) for size in sizes)
    for row, (in_one, in_two) in enumerate([(-1, 0), (0, -1), (-1, -1), (1, 0), (0, 1)]):
        one[:, row] += in_one * np.inf if in_one else 0.0
        two[:, row] += in_two * np.inf if in_two else 0.0
    check_same(TWO_STREAMS, [one, two])


def test_another_maximum_stays_as_it_is() -> None:
    """A statistic of the first loop that the second does not read is no hindrance."""
    text = SOFTMAX_PRODUCT.replace("output %y", "output %w : f32[m] order 0\noutput %y")
    text = text.replace("  %l = fill", "  %l = fill", 1)
    first = "%x = larger %x %x.part : f32[m]"
    more = "%k.part = reduce %t {monoid=max, over=(n)} : f32[m] %k = maximum %k %k.part : f32[m]"
    assert first in text
    text = text.replace(first, f"{first} {more}")
    text = text.replace("carries %x", "carries %k max part %k.part and %x")
    text = text.replace("  %x = fill", "  %k = fill {value=-inf} : f32[m]\n  %x = fill", 1)
    text = text.replace("  store %y", "  store %w %k : f32[m]\n  store %y")
    assert streams(text) == 1
    check_same(text, scores())


def test_only_sums_of_the_bare_maximum_are_undefined_in_hidden_rows() -> None:
    """A second sum, over exponentials whose maximum the program guards, stays finite."""
    text = SOFTMAX_PRODUCT.replace("tanh %s", "neg %s")
    safe = "%x.ok = safe %x : f32[m]"
    text = text.replace("output %y", "output %w : f32[m] order 0\noutput %y")
    text = text.replace("  %l = fill", f"  {safe}\n  %k = fill {{value=0.0}} : f32[m]\n  %l = fill")
    more = "%d = sub %t.1 %x.ok : f32[n m] %f = exp %d : f32[n m]"
    more += " %k.part = reduce %f {monoid=sum, over=(n)} : f32[m] %k = add %k %k.part : f32[m]"
    last = "%l = add %l %l.part : f32[m]"
    assert last in text
    text = text.replace(last, f"{last} {more}")
    text = text.replace("carries %l", "carries %k sum part %k.part and %l")
    text = text.replace("  store %y", "  store %w %k : f32[m]\n  store %y")
    assert streams(text) == 1
    tensors = scores()
    tensors[0][:, 2] = np.inf
    guarded_sum, plain_sum, product = check_same(text, tensors)
    assert np.isfinite(guarded_sum).all()
    assert np.isnan(plain_sum[2])
    assert np.isnan(product[2]).all()


def test_rows_hidden_at_first_recover() -> None:
    text = SOFTMAX_PRODUCT.replace("tanh %s", "neg %s")
    tensors = scores()
    tensors[0][:10] = np.inf
    results = check_same(text, tensors)
    assert np.isfinite(results[0]).all()


def test_rows_hidden_throughout_give_what_the_program_gives() -> None:
    text = SOFTMAX_PRODUCT.replace("tanh %s", "neg %s")
    tensors = scores()
    tensors[0][:, 2] = np.inf
    results = check_same(text, tensors)
    assert np.isnan(results[0][2])
    assert np.isfinite(np.delete(results[0], 2)).all()


def test_infinite_and_undefined_scores_reach_the_result() -> None:
    text = SOFTMAX_PRODUCT.replace("tanh %s", "neg %s")
    tensors = scores()
    tensors[0][3, 1], tensors[0][4, 5] = -np.inf, np.nan
    results = check_same(text, tensors)
    assert np.isnan(results[0][[1, 5]]).all()


def test_nothing_to_sum_gives_zero() -> None:
    results = check_same(SOFTMAX_PRODUCT, [np.zeros((0, 6)), np.zeros((0, 3))])
    assert results[0].tolist() == [0.0] * 6
