"""Reads by index on every target: rows of tables, single elements, and what is no index."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snipjit.compiler import lower, optimize
from snipjit.errors import IndexRangeError, VerificationError
from snipjit.ir.interpret.linear import interpret as interpret_linear
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.ir.verify.subgraph import verify_positional
from snipjit.runtime.launcher import Launcher
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.narrow import HALVES, torch_type

ROWS = {name: kernels.small(row) for name, row in kernels.ROWS.items()}


def summed(index: str = "i64", dtype: str = "f32") -> Subgraph:
    """Rows of a table less their sums, and rows of another that are the same for the batch."""
    text = f"""
    subgraph @rows
    axis v axis n axis b axis m axis w axis k axis c0 axis c1
    %t = parameter : {dtype}[v][n]
    %i = parameter : {index}[b][m]
    %u = parameter : f32[w][k]
    %j = parameter {{ones=(0)}} : i32[c0][c1]
    %g = gather %t %i {{axis=v}} : {dtype}[b][m][n]
    %0 = to_f32 %g : f32[b][m][n]
    %1 = gather %u %j {{axis=w}} : f32[c0][c1][k]
    %2 = add %0 %1 : f32[b][m][n]
    %3 = reduce_dims %2 {{monoid=sum, dims=(-1), keepdim=true}} : f32[b][m][]
    %4 = sub %2 %3 : f32[b][m][n]
    %y = result %4 {{order=(0, 1, 2)}} : f32[b][m][n]
    """
    return parse_subgraph(text)


ELEMENTS = """
subgraph @elements
axis b axis v axis m axis w
%t = parameter : f32[b][v]
%i = parameter : i64[m]
%u = parameter : f32[w]
%0 = gather %t %i {axis=v} : f32[b][m]
%1 = gather %u %i {axis=w} : f32[m]
%2 = mul %0 %1 : f32[b][m]
%y = result %2 {order=(0, 1)} : f32[b][m]
"""
"""Indices that lie in lanes, along the last dim."""

SHAPES = [(5, 2, 3, 7), (9, 1, 1, 1), (30, 3, 4, 33), (7, 0, 3, 5), (4, 2, 5, 100), (1, 3, 2, 16)]


def _given(shape: tuple[int, ...], index: str = "i64", dtype: str = "f32") -> list[torch.Tensor]:
    """Tables and indices: all rows of the first table if there are as many indices."""
    rows, batch, length, features = shape
    generator = torch.Generator().manual_seed(features)
    table = torch.randn(rows, features, generator=generator).to(torch_type(dtype))
    ids = torch.randint(0, rows, (batch, length), generator=generator).to(torch_type(index))
    others = torch.randn(11, features, generator=generator)
    places = torch.randint(0, 11, (1, length), generator=generator).to(torch.int32)
    return [table, ids, others, places]


def _arrays(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    return [kernels.array(tensor) for tensor in tensors]


@pytest.mark.parametrize("index", ["i64", "i32"])
@pytest.mark.parametrize("row", ROWS)
def test_rows(row: str, index: str) -> None:
    subgraph = summed(index)
    verify_positional(subgraph)
    run = kernels.launcher(subgraph, ROWS[row], Schedule.FEATURES)
    for shape in SHAPES:
        kernels.assert_right(run, subgraph, _given(shape, index), [])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("row", ROWS)
def test_rows_of_16_bits(row: str, dtype: str) -> None:
    subgraph = summed(dtype=dtype)
    run = kernels.launcher(subgraph, ROWS[row], Schedule.FEATURES)
    for shape in SHAPES[:3]:
        kernels.assert_right(run, subgraph, _given(shape, dtype=dtype), [])


@pytest.mark.parametrize("row", ROWS)
def test_elements(row: str) -> None:
    subgraph = parse_subgraph(ELEMENTS)
    run = kernels.launcher(subgraph, ROWS[row], Schedule.FEATURES)
    for rows, length in ((1, 1), (3, 5), (2, 16), (4, 39), (2, 0)):
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(0, 7, (length,), generator=generator)
        given = [
            torch.randn(rows, 7, generator=generator),
            ids,
            torch.randn(9, generator=generator),
        ]
        kernels.assert_right(run, subgraph, given, [])


@pytest.mark.parametrize("row", kernels.SMALL)
def test_what_is_printed_and_interpreted(row: str) -> None:
    lir = lower(optimize(summed()), kernels.SMALL[row], schedule=Schedule.FEATURES)
    read = parse_linear(print_linear(lir))
    assert read == lir
    for shape in SHAPES:
        given = _arrays(_given(shape))
        np.testing.assert_allclose(
            interpret_linear(lir, given)[0], interpret(summed(), given)[0], rtol=1e-9, atol=1e-9
        )


def _outside(target: TargetMachine, place: int, wrong: int) -> None:
    given = _given((5, 2, 9, 7))
    given[place].view(-1)[-1] = wrong
    run = kernels.launcher(summed(), target, Schedule.FEATURES)
    with pytest.raises(IndexRangeError, match="index out of range in self"):
        run(*given)
    with pytest.raises(IndexRangeError, match="index out of range"):
        interpret(summed(), _arrays(given))


@pytest.mark.parametrize(("place", "wrong"), [(1, 5), (1, -1), (1, 2**32), (3, 11), (3, -1)])
@pytest.mark.parametrize("row", ROWS)
def test_what_is_no_index(row: str, place: int, wrong: int) -> None:
    _outside(ROWS[row], place, wrong)


@pytest.mark.parametrize("row", ["avx512", "portable"])
def test_nothing_is_written_by_it(row: str) -> None:
    """The memory of the result stays as it is, whatever task the index is of."""
    held: list[torch.Tensor] = []

    def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        held.append(torch.empty_strided(shape, strides, dtype=dtype).fill_(7.0))
        return held[-1]

    structure = kernels.launcher(summed(), ROWS[row], Schedule.FEATURES).structure
    run = Launcher(structure, empty=empty)
    given = _given((5, 40, 30, 33))
    given[1][-1, -1] = 5
    with pytest.raises(IndexRangeError):
        run(*given)
    assert bool((held[-1] == 7.0).all())


LEGAL = """
linear @g lanes n x 4
axis v
axis m
axis n
input %t : f32[v][n]
input %i : i64[m]
output %y : f32[m][n] order 0 1
for m step 1 {
  %i.tile = load %i : i64[m]
  for n step 4 {
    %0 = load %t %i.tile {axis=v} : f32[m n]
    store %y %0 : f32[m n]
  }
}
"""

FAULTS = [
    ("%t %i.tile {axis=v}", "%t %i.tile", "%t has the axes .v n m."),
    ("%t %i.tile {axis=v}", "%t {axis=v}", "%t has the axes .n."),
    ("i64[m]\noutput", "i1[m]\noutput", "%i holds i1"),
    ("{axis=v}", "{axis=n}", "%t has the axes .v m."),
    ("%t %i.tile {", "%t %2 {", "%2 is not defined"),
    ("%i : i64[m]\noutput", "%i : f32[m]\noutput", "holds f32"),
]


def test_the_example_is_legal() -> None:
    verify(parse_linear(LEGAL))


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_faults(old: str, new: str, message: str) -> None:
    assert old in LEGAL
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(LEGAL.replace(old, new)))
