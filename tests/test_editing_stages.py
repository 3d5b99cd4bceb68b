"""Edits at the stage where they are easiest: the passes that follow, or run again, do the rest.

After MarkLoops an attention is a page of text: every operation stands there once a level, without
tiles, buffers or tails. The kernels of edited texts are compared with NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from snipjit.compiler import lower
from snipjit.errors import VerificationError
from snipjit.ir.element_types import Array
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.base import run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.passes.linear.allocate_buffers import AllocateBuffers
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.passes.linear.mark_loops import MarkLoops
from tests import kernels, subgraphs
from tests.kernels import SMALL, natives_first
from tests.linear_examples import final

EXAMPLE = "attention_padding"
SIZES = {"m": 13, "n": 21, "d": 5, "e": 6}


def written() -> Subgraph:
    """The canonical form of the example, with exp and scale where the model has them."""
    return kernels.as_written(subgraphs.ALL[EXAMPLE]())


def marked(target: str) -> str:
    """The text of the example after MarkLoops."""
    steps = pipeline(SMALL[target])
    return print_linear(run_pipeline(steps, written(), until=MarkLoops.__name__))


def completed(text: str, target: str) -> LinearIR:
    """The final form of a text that was edited after MarkLoops."""
    steps = pipeline(SMALL[target])
    rest = steps[[type(step) for step in steps].index(MarkLoops) + 1 :]
    lir: LinearIR = run_pipeline(rest, parse_linear(text), verify=verify)
    return lir


def check(lir: LinearIR, target: str, meaning: Callable[..., list[Array]]) -> None:
    """Kernel and interpreter give what ``meaning`` makes of scores, scale, mask and values."""
    verify(lir, final=True)
    tensors, scalars = kernels.inputs(subgraphs.ALL[EXAMPLE](), SIZES)
    q, k, v, mask = arrays = [tensor.numpy().astype(np.float64) for tensor in tensors]
    want = meaning(q @ k.swapaxes(-1, -2), scalars[0], mask, v)
    got = kernels.results(kernels.launcher_of(lir, SMALL[target]), tensors, scalars)
    for have, said, right in zip(got, interpret(lir, arrays, scalars), want, strict=True):
        np.testing.assert_allclose(have, right, rtol=5e-5, atol=5e-5)
        np.testing.assert_allclose(said, right, rtol=1e-9, atol=1e-11)


def attention(s: Array, v: Array) -> list[Array]:
    weights = np.exp(s - s.max(-1, keepdims=True))
    return [weights / weights.sum(-1, keepdims=True) @ v]


def replaced(text: str, old: str, new: str) -> str:
    """The text with every match of a pattern replaced; there must be one."""
    result, count = re.subn(old, new, text)
    assert count > 0, old
    return result


Meaning = Callable[[Array, float, Array, Array], list[Array]]
FUNCTIONS: dict[str, tuple[str, str, Meaning]] = {
    "as it was": ("axis", "axis", lambda s, c, mask, v: attention(s * c + mask, v)),
    "another function": (
        r"= add (%1\S*) %p3",
        r"= maximum \1 %p3",
        lambda s, c, mask, v: attention(np.maximum(s * c, mask), v),
    ),
    "another order": (
        r"mul (%0\S*) %s0(.*\s+.*)add (%1\S*) %p3",
        r"add \1 %p3\2mul \3 %s0",
        lambda s, c, mask, v: attention((s + mask) * c, v),
    ),
    "one more function": (
        r"(%2\S*) = add (%1\S*) %p3 (.*)",
        r"\1.cap = tanh \2 \3\n\1 = add \1.cap %p3 \3",
        lambda s, c, mask, v: attention(np.tanh(s * c) + mask, v),
    ),
    "another constant": (
        r"%11 = where %10 %7 %8",
        r"%sink = fill {value=0.25} : f32[]\n%11 = add %8 %sink",
        lambda s, c, mask, v: attention_with_sink(s * c + mask, v, 0.25),
    ),
}


def attention_with_sink(s: Array, v: Array, sink: float) -> list[Array]:
    """The weights share one with a key that has no value."""
    weights = np.exp(s - s.max(-1, keepdims=True))
    return [weights / (weights.sum(-1, keepdims=True) + sink) @ v]


@pytest.mark.parametrize("target", natives_first(SMALL))
@pytest.mark.parametrize("edit", FUNCTIONS)
def test_other_functions(edit: str, target: str) -> None:
    old, new, meaning = FUNCTIONS[edit]
    check(completed(replaced(marked(target), old, new), target), target, meaning)


@pytest.mark.parametrize("step", [2, 3, 20, 64])
def test_other_blocks(step: int) -> None:
    """Blocks of any size: buffers and tails follow."""
    text = replaced(marked("portable"), "for n step 8 ", f"for n step {step} ")
    check(completed(text, "portable"), "portable", FUNCTIONS["as it was"][2])


@pytest.mark.parametrize("step", [4, 16, 48])
def test_other_tasks(step: int) -> None:
    text = replaced(marked("portable"), "parallel m step 8 ", f"parallel m step {step} ")
    check(completed(text, "portable"), "portable", FUNCTIONS["as it was"][2])


@pytest.mark.parametrize("target", natives_first(SMALL))
def test_other_results(target: str) -> None:
    """The row maximum and the logarithm of the sum of exponentials, found on the way."""
    outputs = "".join(f"output %{name} : f32[b0][b1][m] order 0 1 2\n" for name in ("top", "lse"))
    text = replaced(marked(target), "scalar", f"{outputs}scalar")
    more = """
        store %top %3 : f32[b0 b1 m]
        %log = log %8 : f32[b0 b1 m]
        %sum = add %log %3 : f32[b0 b1 m]
        store %lse %sum : f32[b0 b1 m]"""
    text = replaced(text, r"(store %r0 .*)", rf"\1{more}")

    def meaning(s: Array, c: float, mask: Array, v: Array) -> list[Array]:
        s = s * c + mask
        top = s.max(-1, keepdims=True)
        lse = top + np.log(np.exp(s - top).sum(-1, keepdims=True))
        return [*attention(s, v), top[..., 0], lse[..., 0]]

    check(completed(text, target), target, meaning)


# The final form: passes that may run again


@pytest.mark.parametrize("target", natives_first(SMALL))
def test_offsets_are_found_again(target: str) -> None:
    """Buffers without an offset, and one more buffer, need only AllocateBuffers and InitLoops."""
    text = re.sub(r" at \d+", "", print_linear(lower(written(), SMALL[target])))
    type = re.search(r"store %r0 (%\w+) (: .*)", text)
    assert type is not None
    value, rest = type.groups()
    extra = f"store %extra {value} {rest}\n%again = load %extra {rest}\nstore %r0 %again {rest}"
    text = replaced(text, r"store %r0 .*", extra)
    buffer = re.search(r"buffer %6.buffer : (.*)", text)
    assert buffer is not None
    text = text.replace(buffer.group(), f"{buffer.group()}\nbuffer %extra : {buffer.group(1)}")
    lir = InitLoops().run(AllocateBuffers().run(parse_linear(text)))
    check(lir, target, FUNCTIONS["as it was"][2])


def test_a_forgotten_tail_is_refused() -> None:
    """An output that only some pieces store would keep what was in memory."""
    text = print_linear(final("softmax_alone", SMALL["portable"]))
    assert text.count("store %r0") > 1
    with pytest.raises(VerificationError, match="step 4 does not store %r0, other pieces do"):
        verify(parse_linear(re.sub(r"store %r0 .*", "", text, count=1)), final=True)


def test_an_early_load_is_refused() -> None:
    text = print_linear(final("softmax_alone", SMALL["portable"]))
    lir = InitLoops().run(parse_linear(re.sub(r"store %4\.buffer .*", "", text, count=1)))
    with pytest.raises(VerificationError, match="is loaded before anything is stored there"):
        verify(lir, final=True)


@pytest.mark.parametrize("target", natives_first(SMALL))
def test_one_masked_body_for_several_vectors(target: str) -> None:
    """Without its tail, a masked body of two vectors covers what the tail did."""
    row = SMALL[target]
    text = print_linear(final("elementwise_chain", row))
    text = replaced(text, rf"for m step {row.lanes} masked", f"for m step {2 * row.lanes} masked")
    lir = parse_linear(text)
    verify(lir, final=True)
    subgraph = subgraphs.elementwise_chain()
    for rows in (1, row.lanes - 1, row.lanes + 1, 2 * row.lanes, 5 * row.lanes + 2):
        tensors, scalars = kernels.inputs(subgraph, {"b": 2, "m": rows, "n": 7})
        kernels.assert_right(kernels.launcher_of(lir, row), subgraph, tensors, scalars)
