"""The NumPy meaning of LinearIR: operations, loops, buffers, memory."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.errors import InputError, VerificationError
from snipjit.ir.element_types import Array
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.text.parse_linear import parse_linear
from tests.kernels import ROWS, in_turn
from tests.linear_examples import EXAMPLES, cases, check_results, final
from tests.retries import CALLS, RETRY

LARGE = ((13, 200), (77, 31), (200, 130))


def run(body: str, *tensors: Array, head: str = "", scalars: tuple[float, ...] = ()) -> list[Array]:
    """The outputs of a body over axes m and n; ``head`` declares more."""
    text = f"linear @test lanes m x 4 axis m axis n axis d = 3 {head}\n{body}"
    return interpret(parse_linear(text), tensors, scalars)


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).standard_normal((11, 7))


XY = "input %x : f32[m][n] output %y : f32[m][n] order 0 1"
ROW = "input %x : f32[m][n] output %y : f32[m] order 0"


@pytest.mark.parametrize(("name", "target"), in_turn(EXAMPLES, [*ROWS]))
def test_whole_pipelines_of_real_targets(name: str, target: str) -> None:
    lir = final(name, ROWS[target])
    for case in cases(name, LARGE[:1] if target == "portable" else LARGE):
        check_results(lir, case)


# Operations


@pytest.mark.parametrize("op", [row.name for row in ELEMENTWISE.values() if row.arity == 1])
def test_functions_of_one_operand(op: str, x: Array) -> None:
    with np.errstate(invalid="ignore"):
        expected = ELEMENTWISE[op].numpy(x if op != "not" else x > 0)
    dtype = "i1" if expected.dtype == bool else "f32"
    head = f"input %x : {'i1' if op == 'not' else 'f32'}[m][n] output %y : {dtype}[m][n] order 0 1"
    body = f"%0 = {op} %x : {dtype}[n m] store %y %0 : {dtype}[n m]"
    (result,) = run(body, x if op != "not" else x > 0, head=head)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_operands_align_by_axis_name(x: Array) -> None:
    body = "%0 = sub %x %z : f32[n m] %1 = mul %0 %s : f32[n m] store %y %1 : f32[n m]"
    column = np.arange(7.0)
    (result,) = run(body, x, column, head=f"{XY} input %z : f32[n] scalar %s", scalars=(2.0,))
    np.testing.assert_allclose(result, 2 * (x - column))


def test_a_product_sums_over_axes() -> None:
    a, b = np.ones((11, 3)), np.arange(21.0).reshape(7, 3)
    head = "input %a : f32[m][d] input %b : f32[n][d] output %y : f32[m][n] order 0 1"
    body = "%0 = brgemm %a %b {over=(d)} : f32[n m] store %y %0 : f32[n m]"
    np.testing.assert_allclose(run(body, a, b, head=head)[0], a @ b.T)
    body = "%c = fill {value=5.0} : f32[n m] %c = fma %a %b %c {over=(d)} : f32[n m]"
    body += " store %y %c : f32[n m]"
    np.testing.assert_allclose(run(body, a, b, head=head)[0], a @ b.T + 5)


@pytest.mark.parametrize(
    ("monoid", "expected"), [("sum", np.sum), ("max", np.max), ("min", np.min), ("larger", np.max)]
)
def test_reductions(monoid: str, expected: object, x: Array) -> None:
    for op in ("reduce", "horizon"):
        body = f"%0 = {op} %x {{monoid={monoid}, over=(n)}} : f32[m] store %y %0 : f32[m]"
        (result,) = run(body, x, head=ROW)
        np.testing.assert_allclose(result, expected(x, axis=1))  # type: ignore[operator]


def test_a_reduction_of_nothing_is_the_identity() -> None:
    body = "%0 = reduce %x {monoid=max, over=(n)} : f32[m] store %y %0 : f32[m]"
    assert run(body, np.zeros((2, 0)), head=ROW)[0].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(("elements", "bound", "sign"), CALLS)
def test_a_body_runs_again_if_it_says_so(elements: list[float], bound: float, sign: int) -> None:
    (result,) = interpret(parse_linear(RETRY), [np.array(elements)], [bound])
    np.testing.assert_array_equal(result, sign * np.array(elements))


def test_indices_count_from_the_start_of_the_axis() -> None:
    body = "for n step 2 { %i = iota {axis=n} : i32[n] store %y %i : i32[n] }"
    head = "input %x : f32[n] output %y : i32[n] order 0"
    assert run(body, np.zeros(5), head=head)[0].tolist() == [0, 1, 2, 3, 4]


def test_values_are_not_defined_before_they_are_written(x: Array) -> None:
    body = "for n step 9 { %0 = exp %x : f32[n m] } store %y %0 : f32[n m]"
    np.testing.assert_allclose(run(body, x, head=XY)[0], np.exp(x))
    with pytest.raises(VerificationError, match="%0 is not defined"):
        run("store %y %0 : f32[n m] %0 = exp %x : f32[n m]", x, head=XY)


def test_f32_is_computed_as_asked() -> None:
    lir = parse_linear(f"linear @t lanes m x 4 axis m axis n {XY} store %y %x : f32[n m]")
    assert interpret(lir, [np.ones((2, 3))], dtype=np.float32)[0].dtype == np.float32
    assert interpret(lir, [np.ones((2, 3), np.float32)])[0].dtype == np.float64


# Loops

COPY = "%0 = load %x : f32[n m] store %y %0 : f32[n m]"


@pytest.mark.parametrize(
    "loop",
    [
        "for n step 4 { * }",
        "for n step 4 { for n step 3 { * } }",
        "for n step 5 { for n step 4 { * } tail 1 { * } }",
        "for n step 4 { * } tail 2 { * } tail 1 { * }",
        "for n step 1 { * }",
        "for m step 8 masked { * } tail 4 masked { * }",
        "for m step 4 { * } tail 4 masked { * }",
        "parallel m step 5 { for n step 3 { for m step 4 masked { * } } }",
    ],
)
def test_loops_cover_their_axis(loop: str, x: Array) -> None:
    np.testing.assert_array_equal(run(loop.replace("*", COPY), x, head=XY)[0], x)


def test_each_piece_covers_what_it_should() -> None:
    steps = {8: 1.0, 4: 2.0}
    bodies = {
        step: f"%{step} = fill {{value={value}}} : f32[m] store %y %{step} : f32[m]"
        for step, value in steps.items()
    }
    loop = f"for m step 8 masked {{ {bodies[8]} }} tail 4 masked {{ {bodies[4]} }}"
    head = "input %x : f32[m] output %y : f32[m] order 0"
    found = {m: run(loop, np.zeros(m), head=head)[0].tolist() for m in (3, 5, 8, 11, 15)}
    assert found[3] == [2.0] * 3
    assert found[5] == [1.0] * 5
    assert found[8] == [1.0] * 8
    assert found[11] == [1.0] * 8 + [2.0] * 3
    assert found[15] == [1.0] * 15


def test_work_that_no_piece_covers_is_an_error(x: Array) -> None:
    loop = f"for n step 4 {{ {COPY} }} tail 2 {{ {COPY} }}"
    message = "no piece of the loop covers the last 1 of 7 elements of axis n: add a tail"
    with pytest.raises(VerificationError, match=message) as error:
        run(loop, x, head=XY)
    assert ">    7 | for n step 4 {" in str(error.value)


def test_a_reduction_accumulates_through_the_loops_its_value_leaves(x: Array) -> None:
    body = """
    for n step 4 {
      %part = reduce %x {monoid=sum, over=(n)} : f32[m]
      %square = mul %part %part : f32[m]
      %all = reduce %x {monoid=sum, over=(n)} : f32[m]
    }
    %0 = add %all %square : f32[m]
    store %y %0 : f32[m]
    """
    expected = x.sum(axis=1) + x[:, 4:].sum(axis=1) ** 2
    np.testing.assert_allclose(run(body, x, head=ROW)[0], expected)


def test_a_reduction_begins_anew_with_each_run_of_its_loop(x: Array) -> None:
    body = """
    %l = fill {value=0.0} : f32[m]
    for n step 4 {
      for n step 2 { %part = reduce %x {monoid=sum, over=(n)} : f32[m] }
      %l = add %l %part : f32[m]
    }
    store %y %l : f32[m]
    """
    np.testing.assert_allclose(run(body, x, head=ROW)[0], x.sum(axis=1))


# Memory


def test_dims_are_products_of_axes_and_may_broadcast() -> None:
    head = "axis h input %x : f32[h m][] input %z : f32[h][n] output %y : f32[n][m h] order 0 1"
    body = "%0 = add %x %z : f32[n h m] store %y %0 : f32[n h m]"
    lir = f"linear @t lanes m x 4 axis n {head.replace('axis h', 'axis h axis m')} {body}"
    x, z = np.arange(6.0).reshape(6, 1), 10 * np.arange(8.0).reshape(2, 4)
    (result,) = interpret(parse_linear(lir), [x, z])
    expected = x.reshape(2, 3)[:, :, None] + z[:, None, :]
    np.testing.assert_allclose(result, expected.transpose(2, 1, 0).reshape(4, 6))


BUFFERED = """
for n step 4 {
  buffer %b : f32[n:4][m:12]
  %0 = exp %x : f32[n m]
  store %b %0 : f32[n m]
  for n step 2 {
    %1 = load %b : f32[n m]
    store %y %1 : f32[n m]
  }
}
"""


def test_a_buffer_begins_where_it_is_declared(x: Array) -> None:
    np.testing.assert_allclose(run(BUFFERED, x, head=XY)[0], np.exp(x))


def test_a_buffer_forgets(x: Array) -> None:
    body = BUFFERED.replace("store %b %0 : f32[n m]\n", "")
    assert np.isnan(run(body, x, head=XY)[0]).all()


def test_a_buffer_ends(x: Array) -> None:
    message = r"%b holds 4 of axis n, not 0\.\.5"
    with pytest.raises(VerificationError, match=message):
        run(BUFFERED.replace("for n step 4", "for n step 5"), x, head=XY)


def test_a_buffer_may_lack_an_axis_of_which_it_holds_one(x: Array) -> None:
    body = BUFFERED.replace("for n step 4", "for n step 1").replace("[n:4]", "")
    np.testing.assert_allclose(run(body, x, head=XY)[0], np.exp(x))
    with pytest.raises(VerificationError, match="%b has no axis for 1 axes of %0"):
        run(BUFFERED.replace("[n:4]", ""), x, head=XY)


SHARED = """
buffer %a : f32[m:12] at 0
buffer %b : f32[m:12] at 48
%0 = fill {value=1.0} : f32[m]
store %a %0 : f32[m]
%1 = fill {value=2.0} : f32[m]
store %b %1 : f32[m]
%2 = load %a : f32[m]
store %y %2 : f32[m]
"""


@pytest.mark.parametrize(
    ("offset", "found"), [(48, [1.0] * 11), (0, [2.0] * 11), (40, [1.0] * 10 + [2.0])]
)
def test_buffers_share_the_scratchpad(offset: int, found: list[float], x: Array) -> None:
    text = SHARED.replace("at 48", f"at {offset}")
    for dtype in (np.float32, np.float64):
        lir = parse_linear(f"linear @t lanes m x 4 axis m axis n {ROW} {text}")
        assert interpret(lir, [x], dtype=dtype)[0].tolist() == found


# Input


def test_inputs_must_fit(x: Array) -> None:
    with pytest.raises(InputError, match="test takes 1 tensors and 0 scalars, got 2 and 0"):
        run(COPY, x, x, head=XY)
    with pytest.raises(InputError, match="test takes 1 tensors and 1 scalars, got 1 and 0"):
        run(COPY, x, head=f"{XY} scalar %s")
    with pytest.raises(InputError, match="'x' has rank 1"):
        run(COPY, x[0], head=XY)


def test_operands_must_fit(x: Array) -> None:
    with pytest.raises(VerificationError, match="cannot evaluate exp: an operand has axes n"):
        run("%0 = exp %x : f32[m] store %y %0 : f32[m]", x, head=ROW)
    body = "%0 = fill {value=0} : f32[m] %0 = exp %x : f32[n m] store %y %0 : f32[n m]"
    with pytest.raises(VerificationError, match=r"%0 has axes \[m\] elsewhere"):
        run(body, x, head=XY)
