"""Tests of ``snipjit/runtime/structure.py``: choosing among kernels compiles none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from snipjit.errors import InputError, UnsupportedError
from snipjit.ir import axis_sizes
from snipjit.ir.schedule import Schedule
from snipjit.runtime import interface as interfaces
from snipjit.runtime.compile_threads import Run, at_once
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.structure import SPECIALIZED_SIZES, Choice, Selection, Structure
from snipjit.target.candidates import Serves
from tests.runtime.workers import scale_add, scale_add_interface

FEW, ANY = Serves(Schedule.COLUMNS, ("m",), 16), Serves(Schedule.ROWS)
SELECTION = Selection((FEW, ANY), features=("d", "e"))
ONLY = Selection((ANY,))
GENERAL = Choice(Schedule.ROWS)
OWN = (64, 64)


def sizes(m: int, d: int = 64, e: int = 64) -> dict[str, int]:
    return {"m": m, "n": 100, "d": d, "e": e}


def test_few_rows_go_by_columns() -> None:
    by_rows = [Choice(Schedule.ROWS, OWN), GENERAL]
    assert SELECTION.choices(sizes(17), ()) == by_rows
    assert SELECTION.choices(sizes(16), ()) == [Choice(Schedule.COLUMNS, OWN), *by_rows]
    assert replace(SELECTION, table=(ANY,)).choices(sizes(1), ()) == by_rows


def test_without_features_there_are_two() -> None:
    selection = replace(SELECTION, features=())
    assert selection.choices(sizes(1), ()) == [Choice(Schedule.COLUMNS), GENERAL]
    assert selection.choices(sizes(100), ()) == [GENERAL]
    assert not selection.is_single
    assert ONLY.is_single
    assert ONLY.choices(sizes(1), ()) == [GENERAL]


def test_rows_are_a_product_of_axes() -> None:
    selection = Selection((Serves(Schedule.COLUMNS, ("m", "n"), 300), ANY))
    assert selection.choices(sizes(3), ())[0] == Choice(Schedule.COLUMNS)
    assert selection.choices(sizes(4), ()) == [GENERAL]


def test_the_last_row_of_the_table_is_general() -> None:
    outputs = Serves(Schedule.OUTPUTS)
    assert Selection((FEW, outputs)).general == Choice(Schedule.OUTPUTS)
    found = Selection((FEW, outputs), ("d", "e")).choices(sizes(100, 0, 64), ())
    assert found == [Choice(Schedule.OUTPUTS)]


def test_a_few_sizes_have_kernels_of_their_own() -> None:
    seen = [(size, size) for size in range(1, SPECIALIZED_SIZES + 1)]
    assert SELECTION.choices(sizes(100, 7, 7), seen) == [GENERAL]
    assert SELECTION.choices(sizes(100, 2, 2), seen) == [Choice(Schedule.ROWS, (2, 2)), GENERAL]
    assert SELECTION.choices(sizes(100, 0, 64), ()) == [GENERAL]


class Built:
    """A builder that knows which kernels there are."""

    def __init__(self, *refused: Choice) -> None:
        self.refused = refused
        self.asked: list[Choice] = []

    def __call__(self, choice: Choice, run: Run = at_once) -> Callable[[], Kernel]:
        self.asked.append(choice)
        if choice in self.refused:
            raise UnsupportedError("none of this")
        return lambda: replace(scale_add(), key=choice.name(("n",)))


TWO = Selection((Serves(Schedule.COLUMNS, ("m",), 8), ANY), ("n",))


def structure(build: Built) -> Structure:
    return Structure("test", scale_add_interface(), TWO, build)


def test_each_kernel_is_built_once_and_only_if_asked() -> None:
    build = Built()
    made = structure(build)
    of = [made.kernel_for({"b": 1, "m": m, "n": 5}).key for m in (1, 9, 1, 9, 2)]
    assert of == ["columns_n5", "rows_n5", "columns_n5", "rows_n5", "columns_n5"]
    assert build.asked == [Choice(Schedule.COLUMNS, (5,)), Choice(Schedule.ROWS, (5,))]


def test_what_cannot_be_built_is_asked_once() -> None:
    build = Built(Choice(Schedule.COLUMNS, (5,)), Choice(Schedule.ROWS, (5,)))
    made = structure(build)
    for _ in range(3):
        assert made.kernel_for({"b": 1, "m": 1, "n": 5}).key == "rows"
    assert build.asked == [*build.refused, GENERAL]
    assert made.kernel(Choice(Schedule.ROWS, (5,))) is None


def test_a_structure_has_a_kernel() -> None:
    with pytest.raises(UnsupportedError):
        Structure("test", scale_add_interface(), ONLY, Built(GENERAL)).kernel(GENERAL)


def test_kernels_share_their_slots() -> None:
    kernel = scale_add()
    fields = list(kernel.recipe.fields)
    fields[8], fields[9] = fields[9], fields[8]
    other = replace(kernel, recipe=replace(kernel.recipe, fields=tuple(fields)))
    with pytest.raises(AssertionError, match="has other slots than its structure"):
        Structure.single(scale_add_interface(), other)


def test_the_axes_of_a_call_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: Any) -> dict[str, int]:
        calls.append(args)
        return axis_sizes.solve_axes(*args)

    monkeypatch.setattr(interfaces, "solve_axes", counted)
    made = structure(Built())
    strides = (60, 10, 1)
    _, config = made.configure([(2, 6, 10)] * 2, [strides] * 2)
    assert config.output_shapes == ((2, 6, 10),)
    assert len(calls) == 1
    with pytest.raises(InputError, match="make the sizes agree"):
        made.configure([(2, 6, 10), (2, 6, 11)], [strides] * 2)
