"""``floor``, ``ceil``, ``round``: equal to NumPy everywhere, signs of zeros included."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.llvm.one_function import Machine, floats, on_each_machine, uniform

SPECIALS = floats(
    0, -0.0, 0.5, 1.5, 2.5, 0.49999997, 0.3, 0.7, 8388607.5, 4194303.5, 8388609, 1e30, 1e-40,
    np.inf, np.nan,
)  # fmt: skip


@on_each_machine
@pytest.mark.parametrize("name", ["floor", "ceil", "round"])
def test_equal_to_numpy(machine: Machine, name: str) -> None:
    x = np.concatenate([SPECIALS, -SPECIALS, uniform(-100, 100, 2000), uniform(-1e7, 1e7, 2000)])
    got, want = machine.run(name, x), getattr(np, name)(x)
    np.testing.assert_array_equal(got, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))
