"""Kernels touch nothing but their inputs, outputs and scratchpad: each lies between guard pages.

A stray access kills a forked child, which is a failed assertion here.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch

from snipjit.ir.subgraph import Subgraph
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.runtime.structure import Structure
from tests import kernels, subgraphs
from tests.guard import (
    Side,
    guarded,
    guarded_bytes,
    guarded_empty,
    guarded_scratch,
    survives,
)
from tests.kernels import (
    NARROW_VARIANTS,
    ROWS_ONLY,
    TARGETS,
    VARIANTS,
    compilable,
    native_in_turn,
    natives_first,
)
from tests.narrow import narrowed

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "full": lambda: subgraphs.attention("full", D=32),
    "boolean full": lambda: subgraphs.attention("full", D=32, boolean=True),
    "padding": lambda: subgraphs.attention("padding", D=32),
    "sequence major": lambda: subgraphs.attention_sequence_major(D=32, mask="padding"),
    "softmax": subgraphs.softmax_alone,
    "D 7": lambda: subgraphs.attention(D=7),
    "D 40": lambda: subgraphs.attention(D=40),
    "bfloat16": lambda: narrowed(subgraphs.attention("full", D=7), "bf16"),
    "bfloat16 D 40": lambda: narrowed(subgraphs.attention("padding", D=40), "bf16"),
    "bfloat16 D 1": lambda: narrowed(subgraphs.attention(D=1), "bf16"),
    "float16": lambda: narrowed(subgraphs.attention_sequence_major(D=32, mask="padding"), "f16"),
}
IN_PAIRS = {name: kind for name, kind in NARROW_VARIANTS.items() if kind[0].pairs}
"""Ways to compile 16 bits that f32 has not."""
CASES = [
    *native_in_turn([name for name in EXAMPLES if name not in ROWS_ONLY], VARIANTS),
    *compilable(EXAMPLES, [name for name in EXAMPLES if name in ROWS_ONLY]),
    *compilable(EXAMPLES, [name for name in EXAMPLES if "bfloat16" in name], IN_PAIRS),
]
SIZES = [(1, 1), (13, 17), (31, 31), (65, 130)]


@cache
def compiled(example: str, target: str) -> Structure:
    kind = {**VARIANTS, **IN_PAIRS}[target]
    return kernels.launcher(EXAMPLES[example](), *kind).structure


def run_between_guards(kernel: Structure, subgraph: Subgraph, m: int, n: int, side: Side) -> None:
    """One call between guard pages; the result must be right too."""
    torch.set_num_threads(1)  # a forked child has none of the parent's threads
    run = Launcher(kernel, Scratchpads(guarded_scratch(side)), guarded_empty(side))
    tensors, scalars = kernels.inputs(subgraph, {"m": m, "n": n}, seed=m)
    between = [guarded(tensor, side) for tensor in tensors]
    kernels.assert_right(run, subgraph, between, scalars)


@pytest.mark.parametrize("side", ["end", pytest.param("start", marks=pytest.mark.long)])
@pytest.mark.parametrize(("example", "target"), CASES)
def test_no_byte_outside(example: str, target: str, side: Side) -> None:
    subgraph, kernel = EXAMPLES[example](), compiled(example, target)
    died = [
        (m, n)
        for m, n in SIZES
        if not survives(partial(run_between_guards, kernel, subgraph, m, n, side))
    ]
    assert not died


@pytest.mark.parametrize(("side", "shift"), [("end", 4), ("start", -4)])
@pytest.mark.parametrize("target", natives_first(TARGETS))
def test_one_element_outside_kills(target: str, side: Side, shift: int) -> None:
    """The guards notice a kernel: moved by one element, its input is partly outside."""
    kernel = compiled("softmax", target)
    shape = (2, 13, 17)

    def call(shift: int) -> None:
        torch.set_num_threads(1)
        memory = guarded_bytes(4 * math.prod(shape), side)
        moved = (ctypes.c_float * math.prod(shape)).from_address(memory.ctypes.data + shift)
        Launcher(kernel)(torch.from_numpy(np.ctypeslib.as_array(moved)).view(shape))

    assert survives(partial(call, 0))
    assert not survives(partial(call, shift))
