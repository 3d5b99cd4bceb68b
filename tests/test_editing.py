"""The printed LinearIR is the kernel: it reads back, and the kernel does what an edit says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.compiler import emit, lower, optimize
from snipjit.errors import VerificationError
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.target.target_machine import TargetMachine
from tests import kernels, subgraphs
from tests.kernels import TARGETS, in_turn, tuned

SIZES = {"m": 29, "n": 53}
COMPILED = [name for name in subgraphs.ALL if name != "attention_scaled_k"]
"""All but a scaled K whose head size is dynamic, which is refused."""


def small(name: str) -> TargetMachine:
    """A row whose panels and blocks are small: short kernels, every loop taken."""
    rows = {"task": 4 * TARGETS[name].lanes, "block": 32}
    return tuned(TARGETS[name], f"{name}, short blocks", {Schedule.ROWS: rows})


def attention(target: TargetMachine) -> str:
    """The final text of an attention with a padding mask."""
    subgraph = subgraphs.attention("padding", D=16)
    return print_linear(lower(kernels.as_written(subgraph), target))


@pytest.mark.parametrize(("example", "name"), in_turn(COMPILED, [*TARGETS]))
def test_emission_is_a_function_of_the_text(example: str, name: str) -> None:
    lir = lower(optimize(subgraphs.ALL[example]()), small(name))
    assert emit(parse_linear(print_linear(lir)), small(name)) == emit(lir, small(name))


def other_functions(text: str) -> str:
    """The scale becomes a sum, and the mask's sum a product."""
    return text.replace("mul %0 %s0", "add %0 %s0").replace("add %1 %p3.tile", "mul %1 %p3.tile")


def other_softmax(text: str) -> str:
    """tanh where exp made the weights."""
    return text.replace("= exp %4 ", "= tanh %4 ")


def smaller_blocks(text: str) -> str:
    """Blocks of half the keys, steps of a contraction halved."""
    return text.replace(" step 32 ", " step 16 ").replace("for d step 4 ", "for d step 2 ")


def smaller_tiles(text: str) -> str:
    """Tiles of two rows: the larger tails never run."""
    return text.replace("for n step 8 ", "for n step 2 ").replace("for n step 4 ", "for n step 2 ")


EDITS: dict[str, Callable[[str], str]] = {
    "other functions": other_functions,
    "other softmax": other_softmax,
    "smaller blocks": smaller_blocks,
    "smaller tiles": smaller_tiles,
}


def check(text: str, target: TargetMachine) -> list[np.ndarray]:
    """Interpreter and kernel of a text agree; returns the interpreter's results."""
    lir = InitLoops().run(parse_linear(text))
    verify(lir, final=True)
    tensors, scalars = kernels.inputs(subgraphs.attention("padding", D=16), SIZES)
    with np.errstate(all="ignore"):
        want = interpret(lir, [tensor.numpy() for tensor in tensors], scalars)
    got = kernels.results(kernels.launcher_of(lir, target), tensors, scalars)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    return want


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_kernel(edit: str, name: str) -> None:
    text = attention(small(name))
    edited = EDITS[edit](text)
    assert edited != text
    before, after = check(text, small(name)), check(edited, small(name))
    same = all(np.allclose(a, b, rtol=1e-9) for a, b in zip(before, after, strict=True))
    assert same == edit.startswith("smaller")


@pytest.mark.parametrize("name", TARGETS)
def test_another_result(name: str) -> None:
    """The sums of the weights, stored as a second output."""
    text = attention(small(name))
    lir: LinearIR = parse_linear(text)
    words = [line.split() for line in text.splitlines() if "= add %" in line]
    total = next(w[0] for w in words if w[3] == w[0] and w[4] == f"{w[0]}.part")
    output = "output %sums : f32[b0][b1][m] order 0 1 2\n"
    text = text.replace(f"scalar %{lir.scalars[0]}", f"{output}scalar %{lir.scalars[0]}", 1)
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        if f"store {total}.buffer {total} " in line:
            lines.append(line.replace(f"store {total}.buffer", "store %sums"))
    (_, sums) = check("\n".join(lines), small(name))
    assert sums.shape == (2, 2, SIZES["m"])
    assert np.isfinite(sums).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" step 32 ", " step 64 ", "buffer"),
        ("= exp %4 ", "= expp %4 ", "expp"),
        ("= exp %4 ", "= exp %nothing ", "nothing"),
        ("mul %0 %s0", "mul %0", "operand"),
    ],
)
def test_edits_that_break_rules_are_refused(old: str, new: str, message: str) -> None:
    text = attention(small("portable"))
    assert old in text
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text.replace(old, new)), final=True)
