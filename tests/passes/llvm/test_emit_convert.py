"""Conversions to 16 bits and back: every 16-bit number, every way a float32 can lie between two."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.element_types import round_to
from tests.narrow import HALVES
from tests.passes.llvm.one_function import Array, Machine, on_each_machine


def _numbers(dtype: str) -> Array:
    """All numbers of a 16-bit type as float32."""
    bits = np.arange(2**16, dtype=np.uint32)
    if dtype == "f16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    return (bits << np.uint32(16)).view(np.float32)


def _between(dtype: str) -> Array:
    """Ties of neighbours and the float32 numbers around them, then numbers of any bits."""
    with np.errstate(all="ignore"):
        finite = _numbers(dtype)
        finite = finite[np.isfinite(finite)]
        step = np.nextafter(finite, np.float32(np.inf))
        up = np.abs(finite) * np.float32(2**-8 if dtype == "bf16" else 2**-11)
    ties = (finite + up).astype(np.float32)
    around = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    random = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    small = np.random.default_rng(1).uniform(-(2.0**-13), 2.0**-13, 50_000)
    numbers = [ties, *around, step, random.view(np.float32), small.astype(np.float32)]
    return np.concatenate(numbers)


@pytest.mark.parametrize("dtype", HALVES)
@on_each_machine
def test_every_number_comes_back(machine: Machine, dtype: str) -> None:
    numbers = _numbers(dtype)
    got = machine.run(f"to_{dtype}", numbers)
    there = ~np.isnan(numbers)
    np.testing.assert_array_equal(got[there].view(np.uint32), numbers[there].view(np.uint32))
    assert np.isnan(got[~there]).all()


@pytest.mark.parametrize("dtype", HALVES)
@on_each_machine
def test_rounds_to_the_nearest_and_ties_to_even(machine: Machine, dtype: str) -> None:
    # Element by element a tenth is enough.
    numbers = _between(dtype)[:: 1 if machine.lanes > 1 else 11]
    with np.errstate(all="ignore"):
        want = round_to(dtype, numbers)
    got = machine.run(f"to_{dtype}", numbers)
    there = ~np.isnan(numbers)
    np.testing.assert_array_equal(got[there].view(np.uint32), want[there].view(np.uint32))
    assert np.isnan(got[~there]).all()


def test_no_library_is_called() -> None:
    from tests.passes.llvm.one_function import MACHINES

    for machine in MACHINES:
        for dtype in HALVES:
            text = machine.function(f"to_{dtype}", "float32").instructions()
            assert not any(word.startswith("call") for word in text)
