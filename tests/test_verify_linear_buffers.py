"""What emission needs of buffers: each rule is broken once."""

from __future__ import annotations

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.ir.verify.linear_buffers import check_buffers
from tests.final_linear import FINAL

S, T = "buffer %s : f32[n:8][m:8] at 64", "buffer %t : f32[n:8][m:8] at 64"
IN_PLACE = """\
          %2 = exp %1 : f32[b n m]
          store %t %2 : f32[b n m]
"""
FAULTS = [
    ("buffer %c : f32[m:16] at 0", "buffer %c : f32[m:16]", "%c has no offset"),
    (
        "buffer %c : f32[m:16]",
        "buffer %c : f32[m:12]",
        "%c holds 12 elements of axis m, but needs 16",
    ),
    ("for n step 8 moves", "for n step 9 moves", "%s holds 8 elements of axis n, but needs 9"),
    ("parallel m step 16", "parallel m step 24", "%c holds 16 elements of axis m, but needs 24"),
    (
        "buffer %c : f32[m:16]",
        "buffer %c : f32[n:99][m:16]",
        "holds 99 elements of axis n, but needs a bounded number",
    ),
    (
        S,
        S.replace("[n:8][m:8]", "[m:8][n:8]"),
        "%s must have whole vectors of lanes",
    ),
    (S, S.replace("[m:8]", "[m:10]"), "%s must have whole vectors of lanes"),
    (S, S.replace("[n:8]", ""), "%s holds no axis n, of which there are several here"),
    (S, S.replace("at 64", "at 32"), "%s and %c hold values at the same time in the same memory"),
    (T, T.replace("at 64", "at 0"), "%t and %c hold values at the same time"),
    (T, T.replace("at 64", "at 128"), "%t and %s hold values at the same time"),
    (T, T.replace("[m:8]", "[m:12]"), "%t and %s hold values at the same time"),
    ("store %y %5", "%6 = load %s : f32[b n m] store %y %6", "%t and %s hold values at the same"),
    (
        "%1 = load %s : f32[b n m]\n",
        "%1 = fill {value=0.0} : f32[b n m] store %t %1 : f32[b n m] %1 = load %s : f32[b n m]\n",
        "%t and %s hold values at the same time",
    ),
    (
        IN_PLACE,
        "%2 = exp %1 : f32[b n m] for d step 1 { store %t %2 : f32[b n m] }\n",
        "%t and %s hold values at the same time",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_each_rule(old: str, new: str, message: str) -> None:
    assert old in FINAL
    with pytest.raises(VerificationError, match=message):
        check_buffers(parse_linear(FINAL.replace(old, new, 1)))


def test_a_buffer_ends_with_the_body_that_declares_it() -> None:
    text = FINAL.replace(S, "").replace("%a = fill", f"{S} %a = fill")
    with pytest.raises(VerificationError, match="%s is not declared around this load"):
        check_buffers(parse_linear(text))


def test_memory_of_a_buffer_that_has_ended_is_free() -> None:
    loop = "    for n step 8 moves %x by stride %w"
    store = "%one = fill {value=1.0} : f32[m] store %u %one : f32[m]"
    fill = f"for m step 8 masked moves %u by 1 rewind {{ {store} }}"
    assert loop in FINAL
    text = FINAL.replace(loop, f"buffer %u : f32[m:16] at 0 {fill} {loop}")
    text = text.replace("store %c %sum", "store %u %sum").replace("load %c", "load %u")
    check_buffers(parse_linear(text.replace("at 64", "at 128")))
    with pytest.raises(VerificationError, match="%u and %c hold values at the same time"):
        check_buffers(parse_linear(text.replace("load %u", "load %c").replace("at 64", "at 128")))


def test_a_buffer_may_take_the_place_of_one_that_is_read_for_the_last_time() -> None:
    check_buffers(parse_linear(FINAL))


def test_the_verifier_of_final_forms_looks_at_buffers() -> None:
    with pytest.raises(VerificationError, match="%t and %c hold values at the same time"):
        verify(parse_linear(FINAL.replace(T, T.replace("at 64", "at 0"))), final=True)


def test_the_error_shows_the_buffer() -> None:
    with pytest.raises(VerificationError) as error:
        verify(parse_linear(FINAL.replace(T, T.replace("at 64", "at 0"))), final=True)
    assert f">   21 |         {T.replace('at 64', 'at 0')}" in str(error.value).splitlines()
