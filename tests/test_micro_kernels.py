"""What final forms come to, counted: products a load, spills, blocks that run and that are skipped.

One tile size, that of each target row; LLVM makes the assembly of any row on any host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snipjit.compiler import emit, lower, optimize
from snipjit.ir.expression import Expression
from snipjit.ir.interpret.linear import _OPERATIONS, _Machine, interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.runtime import engine
from tests.assembly import Block, blocks
from tests.kernels import ROWS
from tests.linear_examples import TINY
from tests.masked_graphs import Masked, arrays, unlimited
from tests.narrow import narrowed
from tests.subgraphs import attention

LIMITS: dict[tuple[str, str, Schedule], tuple[float, int]] = {
    ("amx-bf16", "f32", Schedule.ROWS): (2.1, 0),
    ("amx-bf16", "bf16", Schedule.ROWS): (2.9, 0),
    ("amx-bf16", "bf16", Schedule.COLUMNS): (2.0, 0),
    ("avx512-bf16", "bf16", Schedule.ROWS): (3.0, 13),
    ("avx512-bf16", "bf16", Schedule.COLUMNS): (2.0, 0),
    ("avx512", "f32", Schedule.ROWS): (2.1, 0),
    ("avx512", "f32", Schedule.COLUMNS): (2.0, 0),
    ("avx512", "bf16", Schedule.ROWS): (2.1, 1),
    ("avx512", "bf16", Schedule.COLUMNS): (2.0, 0),
    ("avx2", "f32", Schedule.ROWS): (2.3, 37),
    ("avx2", "f32", Schedule.COLUMNS): (2.6, 198),
    ("avx2", "bf16", Schedule.ROWS): (1.1, 30),
    ("portable", "f32", Schedule.ROWS): (1.3, 20),
    ("portable", "f32", Schedule.COLUMNS): (0.7, 70),
}
"""Of the block with most products: products a load at least, and spills at most.

They are what LLVM makes of them today: a change that is worse must say why.
"""


def busiest(row: str, dtype: str, schedule: Schedule) -> Block:
    """The block with most products of an attention with heads of 64."""
    subgraph = attention(D=64) if dtype == "f32" else narrowed(attention(D=64), dtype)
    lir = lower(optimize(subgraph), ROWS[row], schedule=schedule)
    return blocks(engine.assembly(emit(lir, ROWS[row]), ROWS[row]))[0]


@pytest.mark.parametrize(
    ("row", "dtype", "schedule"),
    [
        pytest.param(*case, id=f"{case[0]}-{case[1]}-{case[2].value}", marks=mark)
        for number, case in enumerate(LIMITS)
        for mark in [[] if number % 2 or case[0] == "avx2" else [pytest.mark.long]]
    ],
)
def test_products_a_load_and_spills(row: str, dtype: str, schedule: Schedule) -> None:
    least, most = LIMITS[row, dtype, schedule]
    block = busiest(row, dtype, schedule)
    assert block.products / block.loads >= least
    assert block.spills <= most


def products_run(
    monkeypatch: pytest.MonkeyPatch, lir: LinearIR, tensors: list[Any], scalars: list[float]
) -> int:
    """How many products of tiles the interpreter runs."""
    count = [0]

    def counted(machine: _Machine, e: Expression) -> np.ndarray:
        count[0] += 1
        return _Machine._product(machine, e)

    monkeypatch.setitem(_OPERATIONS, "fma", counted)
    interpret(lir, tensors, scalars)
    return count[0]


@pytest.mark.parametrize(("form", "most"), [("where", 0.6), ("add", 0.6)])
def test_blocks_that_a_mask_hides_are_skipped(
    monkeypatch: pytest.MonkeyPatch, form: str, most: float
) -> None:
    """Of a causal mask half of the blocks run, and those on the diagonal."""
    case = Masked("causal", form, "safe softmax", float("-inf"))
    tensors, scalars = arrays(96, 96, "nothing", 1.0), case.scalars(0.0, 4.0, float("-inf"))
    limited = products_run(monkeypatch, lower(case.subgraph(), TINY), tensors, scalars)
    whole = unlimited(case.subgraph(), TINY, Schedule.ROWS)
    assert limited <= most * products_run(monkeypatch, whole, tensors, scalars)
    assert limited > 0
