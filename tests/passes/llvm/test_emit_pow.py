"""Powers: constant exponents, the general function, and its many special values."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.llvm.one_function import Machine, floats, on_each_machine, ulps, uniform

SPECIALS = floats(
    0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 2.5, -2.5, 16777217, 1e30, -1e30, 1e-40, -1e-40, 1e-3,
    np.inf, -np.inf, np.nan,
)  # fmt: skip


@on_each_machine
def test_error(machine: Machine) -> None:
    x, y = np.exp(uniform(-20, 20)), uniform(-8, 8, seed=1)
    with np.errstate(over="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
        normal = (want > 1.2e-38) & (want < 3.4e38)
        assert ulps(machine.run("pow", x, y), want)[normal].max() < 1


@on_each_machine
def test_special_values(machine: Machine) -> None:
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(SPECIALS, SPECIALS))
    got = machine.run("pow", x, y)
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=2e-45)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))


@on_each_machine
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -0.5, -1, -2])
def test_constant_exponents_are_short(machine: Machine, exponent: float) -> None:
    x = uniform(0.01, 30)
    function = machine.function("pow", "float32", "float32", constants={1: exponent})
    want = np.power(x.astype(np.float64), exponent)
    assert ulps(function(x, x), want).max() < 2
    assert len(function.instructions()) <= 9


@on_each_machine
def test_other_constant_exponents(machine: Machine) -> None:
    x = uniform(-30, 30)
    function = machine.function("pow", "float32", "float32", constants={1: 5.0})
    np.testing.assert_allclose(function(x, x), x.astype(np.float64) ** 5, rtol=1e-6)
