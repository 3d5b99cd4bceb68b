"""Tile registers are used where the operating system permits it."""

from __future__ import annotations

import pytest

from snipjit.runtime import engine, tile_registers
from snipjit.target.target_machine import PORTABLE, TARGETS
from tests.emulated import in_calls
from tests.emulated_tiles import Amx

TILED = next(row for row in TARGETS if row.tiles)


class Swapped(Amx):
    """Instructions that take their operands the wrong way round."""

    def _tdpbf16ps(self, c: int, a: int, b: int) -> None:
        super()._tdpbf16ps(c, b, a)


def test_the_question_has_an_answer() -> None:
    permitted = tile_registers.are_permitted()
    assert permitted is tile_registers.are_permitted()
    assert permitted or not any(name.startswith("amx") for name in engine.host_features())


@pytest.mark.parametrize(("permitted", "right"), [(True, True), (True, False), (False, True)])
def test_a_host_has_them_if_they_are_permitted_and_right(
    monkeypatch: pytest.MonkeyPatch, permitted: bool, right: bool
) -> None:
    features = dict.fromkeys(TILED.features, True) | {"sse4a": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    monkeypatch.setattr(tile_registers, "are_permitted", lambda: permitted)
    monkeypatch.setattr(engine, "_tiles_multiply", lambda row: row is TILED and right)
    found = engine.host_features.__wrapped__()
    missing = set() if permitted and right else {"amx-tile", "amx-bf16"}
    assert found == {*TILED.features} - missing


def test_no_product_is_tried_on_a_host_that_names_but_some_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Virtual machines hide single features; their instructions may end the process."""
    features = dict.fromkeys(TILED.features, True) | {"amx-bf16": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    monkeypatch.setattr(tile_registers, "are_permitted", pytest.fail)
    monkeypatch.setattr(engine, "_tiles_multiply", pytest.fail)
    assert engine.host_features.__wrapped__() == {*TILED.features} - {"amx-tile", "amx-bf16"}


def test_the_probe_is_alive_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = "define void @probe(ptr %configuration, ptr %a, ptr %b, ptr %c) {\n  ret void\n}\n"
    monkeypatch.setattr(tile_registers, "PROBE", nothing)
    assert engine._tiles_multiply(TILED) is False


@pytest.mark.parametrize("wrong", [False, True])
def test_the_probe_tells_whether_products_are_right(wrong: bool) -> None:
    amx = Swapped() if wrong else Amx()
    code = engine.compile_object(in_calls(tile_registers.PROBE, frozenset()), PORTABLE)
    loaded = engine.load(code, "probe", amx.imports())
    assert tile_registers.agrees(loaded.address) is not wrong
    assert amx.executed["tdpbf16ps"] == 1
