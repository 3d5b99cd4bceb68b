"""PrepareWeights: weights are read in blocks, in the order in which a kernel wants them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes.graph.prepare_weights import PrepareWeights, blocks_of, prepared, swaps
from snipjit.target.target_machine import TARGETS

LAYER = """
subgraph @layer
axis m
axis d = 6
axis e = 70
%x = parameter : f32[m][d]
%w = parameter : f32[d][e]
%b = parameter : f32[e]
%0 = brgemm %x %w {over=(d)} : f32[m][e]
%1 = add %0 %b : f32[m][e]
%r0 = result %1 {order=(0, 1)} : f32[m][e]
"""


def _run(text: str, *names: str, block: int = 16) -> Subgraph:
    before = parse_subgraph(text)
    verify_canonical(before)
    after = PrepareWeights(names, block).run(before)
    verify_canonical(after)
    return after


def test_before_and_after(golden: Callable[[str], None]) -> None:
    after = _run(LAYER, "w", "b")
    golden(f"{LAYER.strip()}\n\n{print_subgraph(after)}")
    assert parse_subgraph(print_subgraph(after)) == after


def test_only_what_is_named() -> None:
    assert _run(LAYER, "b") == parse_subgraph(LAYER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axis e = 70", "axis e = 63"),
        ("axis e = 70", "axis e"),
        ("order=(0, 1)", "order=(1, 0)"),
        ("%1 = add %0 %b : f32[m][e]", "%1 = mul %w %0 : f32[m d][e]"),
    ],
    ids=["few columns", "unknown columns", "columns apart", "another reader"],
)
def test_what_stays(old: str, new: str) -> None:
    text = LAYER.replace(old, new)
    if "mul" in new:  # the weight itself is read
        text = text.replace("axis m\n", "axis m = 6\n").replace("%1 = mul %w %0 : f32[m d][e]", "")
        text = text.replace("result %1", "result %0")
        text += "%r1 = result %w {order=(0, 1)} : f32[d][e]\n"
    assert _run(text, "w") == parse_subgraph(text)


@pytest.mark.parametrize("target", TARGETS, ids=lambda row: row.name)
def test_numbers_of_parameters(target: object) -> None:
    (row,) = (one for one in TARGETS if one is target)
    plain = parse_subgraph(LAYER.replace("axis e = 70", "axis e = 700"))
    ready = prepared(plain, row, {1, 2})
    assert ready["w"].attrs["block"] == ("e", row.lanes)
    assert swaps(plain, ready) == {1: True}
    other = parse_subgraph(print_subgraph(plain).replace("f32[d][e]", "f32[e][d]", 1))
    assert swaps(other, prepared(other, row, {0, 1})) == {1: False}
    for dtype, swapped in product(("f32", "bf16"), (False, True)):
        verify_canonical(blocks_of(row, dtype, swapped))
