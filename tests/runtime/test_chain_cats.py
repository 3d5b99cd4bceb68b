"""Tests of ``runtime/chain_cats.py``: results of ``o = x * s + y`` that lie side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from snipjit.runtime.chain_text import print_chain
from snipjit.runtime.scratchpad import Scratchpads
from tests.guard import SIDES, Side, guarded, guarded_empty, guarded_scratch
from tests.runtime.test_chain import Built

SIZES = ((3, 5), (1, 1), (0, 4), (4, 0), (0, 0), (1, 7), (6, 2))
"""Along the dim of the cat, of each operand."""


def operands(dim: int, one: int, two: int, shape: tuple[int, int, int] = (2, 4, 6)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7 * one + two)
    sizes = ([*shape[:dim], size, *shape[dim + 1 :]] for size in (one, two))
    return [torch.randn(size, generator=generator) for size in sizes]


def inner(dim: int, swapped: tuple[bool, bool]) -> Callable[[Built], tuple[fx.Node, ...]]:
    """A cat that a launch reads, behind views, of results in either order of dims."""

    def write(built: Built) -> tuple[fx.Node, ...]:
        x, y = built.inputs
        one = built.method("transpose", built.launch(x, x, 0.5, swapped[0]), 0, 1)
        two = built.method("transpose", built.launch(y, y, -1.5, swapped[1]), 0, 1)
        whole = built.graph.call_function(torch.cat, ([one, two], (1, 0, 2)[dim] - 3))
        return (built.launch(whole, built.method("transpose", whole, 0, 0)),)

    return write


def leaving(dim: int) -> Callable[[Built], tuple[fx.Node, ...]]:
    """A cat that a launch reads, and others."""

    def write(built: Built) -> tuple[fx.Node, ...]:
        x, y = built.inputs
        parts = built.launch(x, x), built.launch(y, y)
        whole = built.graph.call_function(torch.cat, (parts, dim))
        return whole, built.launch(whole, whole), built.method("transpose", whole, 0, 1)

    return write


@pytest.mark.parametrize("swapped", [(False, False), (True, True), (True, False)])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_along_every_dim(dim: int, swapped: tuple[bool, bool]) -> None:
    built = Built(inner(dim, swapped), traced=operands(dim, 3, 5))
    for sizes in SIZES:
        built.check(*operands(dim, *sizes))
        built.check(*operands(dim, *sizes, shape=(1, 1, 1)))
    (chain,) = built.made
    assert len(chain.script.cats) == 2
    assert len(chain.script.members) == 3
    assert dim == 2 or built.in_one


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_cats_that_leave_lie_as_pytorchs(dim: int) -> None:
    built = Built(leaving(dim), traced=operands(dim, 3, 5))
    kept = []
    for sizes in SIZES:
        given = operands(dim, *sizes)
        built.check(*given)
        kept.append((given, built.after(*given)))
    assert built.in_one
    assert not any(node.target is torch.cat for node in built.after.graph.nodes)
    for given, results in kept:  # the caller's own
        assert all(map(torch.equal, results, built.before(*given)))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("write", [inner(1, (False, False)), leaving(1)], ids=["inner", "leaving"])
def test_nothing_outside_is_touched(
    write: Callable[[Built], tuple[fx.Node, ...]], side: Side
) -> None:
    memory = Scratchpads(guarded_scratch(side))
    built = Built(
        write,
        traced=operands(1, 3, 5),
        arenas=memory,
        scratchpads=memory,
        empty=guarded_empty(side),
    )
    for sizes in SIZES:
        built.check(*(guarded(x, side) for x in operands(1, *sizes)))


def test_rows_do_not_begin_in_the_same_sets() -> None:
    built = Built(inner(1, (False, False)), traced=operands(1, 3, 5, (2, 1, 256)))
    built.check(*operands(1, 3, 5, (2, 1, 256)))
    (chain,) = built.made
    assert chain.planner.colouring is not None
    assert built.in_one
    text = print_chain(chain.script, chain.planner.colouring)
    assert text.count(" : in %cat") == 2
    assert "%cat = cat(%transpose, %transpose_1; 0) : colour" in text


def test_a_result_lives_until_its_cat_is_read() -> None:
    """What is made between the operands has memory of its own."""

    def write(built: Built) -> tuple[fx.Node, ...]:
        x, y = built.inputs
        one = built.launch(x, x)
        other = built.launch(built.launch(y, y, 3.0), y)
        whole = built.graph.call_function(torch.cat, ([one, built.launch(other, other)], 1))
        return (built.launch(whole, whole),)

    built = Built(write, traced=operands(1, 5, 5))
    for size in (5, 1, 9):
        built.check(*operands(1, size, size))
    assert built.in_one
