"""A few hundred seeds of the fuzzer; ``make fuzz`` runs more."""

from __future__ import annotations

import random

import pytest
import torch

from tests.fuzz import runs
from tests.fuzz.check import Case, Outcome, case_of, check
from tests.fuzz.draw import draw
from tests.fuzz.faults import FAULTS
from tests.fuzz.programs import Input, Kind, Line, Model, Program, Ref
from tests.fuzz.shrink import shrunk

PART = 11
"""Seeds of one test."""


@pytest.fixture(autouse=True)
def _as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNIPJIT_VERIFY", "0")


def problems(seeds: range, compiled: bool = False) -> tuple[list[str], int]:
    """What is wrong with seeds, and how many of them have no kernel."""
    outcomes: list[tuple[Case, Outcome]] = []
    for seed in seeds:
        case = case_of(seed, compiled)
        outcomes.append((case, check(case)))
    wrong = [f"seed {c.seed}: {o.problem}\n{c.program}" for c, o in outcomes if o.problem]
    return wrong, sum(not outcome.fused for _, outcome in outcomes)


@pytest.mark.parametrize("first", range(0, 7 * PART, PART))
def test_graphs(first: int) -> None:
    wrong, refused = problems(range(first, first + PART))
    assert not wrong, wrong[0]
    assert refused <= PART // 2


@pytest.mark.parametrize("seed", range(3))
def test_compiled_and_exported(seed: int) -> None:
    wrong, _ = problems(range(seed, seed + 1), compiled=True)
    assert not wrong, wrong[0]


@pytest.mark.parametrize("fault", FAULTS[::8], ids=lambda fault: fault.place)
def test_planted_faults_are_found(fault: object) -> None:
    """A few of them; ``python -m tests.fuzz --faults`` plants all."""
    from tests.fuzz.faults import Fault, _found

    assert isinstance(fault, Fault)
    assert _found(fault, range(120)) is not None


def test_a_seed_is_one_program() -> None:
    assert [str(draw(seed)) for seed in range(9)] == [str(draw(seed)) for seed in range(9)]
    assert len({str(draw(seed)) for seed in range(99)}) == 99


def test_a_program_runs_as_it_prints() -> None:
    for seed in range(20):
        program = draw(seed, few=True)
        given = runs.tensors(program, seed)
        with torch.inference_mode():
            pairs = zip(program.run(given), Model(program)(*given), strict=True)
            for one, other in pairs:
                torch.testing.assert_close(one, other, equal_nan=True)


def test_what_is_wrong_is_shrunk() -> None:
    """Down to the lines that make it so."""
    inputs = (Input("q", (2, 3), "float32", (0, 1)), Input("b", (2, 3), "float32", (0, 1)))
    lines = (
        Line("x0", "add", (Ref("q"), Ref("b"))),
        Line("x1", "tanh", (Ref("x0"),)),
        Line("x2", "to", (Ref("x1"), Kind("float32"))),
        Line("x3", "mul", (Ref("x2"), 2.0)),
    )
    case = Case(0, Program(inputs, lines, ("x3", "x0")), "portable", "static")
    small = shrunk(case, lambda other: "tanh" in str(other.program))
    assert [line.target for line in small.program.lines] == ["tanh"]
    assert len(small.program.inputs) == 1


def test_every_row_is_drawn() -> None:
    random.seed(0)
    assert {case_of(seed).target for seed in range(60)} == {*runs.TARGETS}
