"""Tile registers are used where the operating system permits it."""

from __future__ import annotations

import pytest

from snipjit.runtime import engine, tile_registers


def test_the_question_has_an_answer() -> None:
    permitted = tile_registers.are_permitted()
    assert permitted is tile_registers.are_permitted()
    assert permitted or not any(name.startswith("amx") for name in engine.host_features())


@pytest.mark.parametrize("permitted", [True, False])
def test_a_host_has_them_if_they_are_permitted(
    monkeypatch: pytest.MonkeyPatch, permitted: bool
) -> None:
    features = {"amx-tile": True, "amx-bf16": True, "avx2": True, "sse4a": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    monkeypatch.setattr(tile_registers, "are_permitted", lambda: permitted)
    found = engine.host_features.__wrapped__()
    assert found == ({"amx-tile", "amx-bf16", "avx2"} if permitted else {"avx2"})
