"""The logarithm: error bounds, denormals, special values."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.llvm.one_function import Machine, floats, on_each_machine, ulps, uniform


@on_each_machine
@pytest.mark.parametrize(
    ("low", "high"), [(0.99, 1.01), (0.4, 2.1), (1e-6, 1e6), (1e-42, 2e-38), (1e30, 3.4e38)]
)
def test_error(machine: Machine, low: float, high: float) -> None:
    x = uniform(low, high)
    assert ulps(machine.run("log", x), np.log(x.astype(np.float64))).max() < 1.5


@on_each_machine
def test_special_values(machine: Machine) -> None:
    x = floats(0, -0.0, 1, np.inf, -np.inf, -1, -1e-40, np.nan)
    want = floats(-np.inf, -np.inf, 0, np.inf, np.nan, np.nan, np.nan, np.nan)
    np.testing.assert_array_equal(machine.run("log", x), want)
