"""``tanh`` and ``erf``: error bounds, oddness, and values that never pass ±1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.passes.llvm.one_function import Array, Machine, floats, on_each_machine, ulps, uniform

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


@on_each_machine
@each_function
@pytest.mark.parametrize(("reach", "bound"), [(1e-3, 4.0), (1.0, 4.5), (12.0, 6.5)])
def test_error(machine: Machine, name: str, reach: float, bound: float) -> None:
    x = uniform(-reach, reach)
    got = machine.run(name, x)
    assert ulps(got, FUNCTIONS[name](x.astype(np.float64))).max() < bound
    np.testing.assert_array_equal(machine.run(name, -x), -got)
    assert np.abs(got).max() <= 1


@on_each_machine
@each_function
def test_ends(machine: Machine, name: str) -> None:
    far = floats(10, 100, 1e10, 1e30, 3.4e38, np.inf)
    np.testing.assert_array_equal(machine.run(name, far), np.ones(6, np.float32))
    assert np.isnan(machine.run(name, floats(np.nan))).all()
    zeros = machine.run(name, floats(0.0, -0.0))
    assert (zeros == 0).all()
    assert list(np.signbit(zeros)) == [False, True]
