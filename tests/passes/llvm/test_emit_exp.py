"""Exponentials: error bounds, special values, and the length of the AVX-512 code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.llvm.one_function import (
    MACHINES,
    Machine,
    floats,
    on_each_machine,
    ulps,
    uniform,
)


@on_each_machine
@pytest.mark.parametrize(
    ("low", "high", "bound"), [(-1, 1, 2.5), (-20, 20, 3.0), (-86, 88.72, 5.5), (-1e-3, 1e-3, 1.0)]
)
def test_exp(machine: Machine, low: float, high: float, bound: float) -> None:
    x = uniform(low, high)
    assert ulps(machine.run("exp", x), np.exp(x.astype(np.float64))).max() < bound


@on_each_machine
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-125, 127.99), (-1e-3, 1e-3)])
def test_exp2(machine: Machine, low: float, high: float) -> None:
    x = uniform(low, high)
    assert ulps(machine.run("exp2", x), np.exp2(x.astype(np.float64))).max() < 3.5


@on_each_machine
@pytest.mark.parametrize(("name", "exact"), [("exp", np.exp), ("exp2", np.exp2)])
def test_precision_of_bf16(machine: Machine, name: str, exact: np.ufunc) -> None:
    x = uniform(-80, 80)
    want = exact(x.astype(np.float64))
    assert (np.abs(machine.run(name, x, precision="bf16") / want - 1)).max() < 1.2e-4
    ends = floats(0, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, np.nan)
    got = machine.run(name, ends, precision="bf16")
    np.testing.assert_array_equal(got, floats(1, np.inf, 0, np.inf, 0, np.nan))


@on_each_machine
@pytest.mark.parametrize(("low", "high", "bound"), [(-1, 1, 3.0), (-20, 20, 4.5), (-86, 88, 7.0)])
def test_sigmoid(machine: Machine, low: float, high: float, bound: float) -> None:
    x = uniform(low, high)
    want = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert ulps(machine.run("sigmoid", x), want).max() < bound


@on_each_machine
@pytest.mark.parametrize(
    ("low", "high", "bound"),
    [(-1, 1, 3.0), (-20, 20, 3.0), (-86, 88.72, 5.5), (-1e-3, 1e-3, 1.5), (-1e-7, 1e-7, 1.5)],
)
def test_expm1(machine: Machine, low: float, high: float, bound: float) -> None:
    x = uniform(low, high)
    assert ulps(machine.run("expm1", x), np.expm1(x.astype(np.float64))).max() < bound


@on_each_machine
def test_ends_of_expm1(machine: Machine) -> None:
    assert np.isfinite(machine.run("expm1", floats(88.72283))).all()
    got = machine.run("expm1", floats(88.7229, *HUGE, *(-size for size in HUGE), np.nan))
    np.testing.assert_array_equal(got, floats(*[np.inf] * 7, *[-1.0] * 6, np.nan))
    tiny = floats(0.0, -0.0, 1e-40, -1e-40, 1e-30, -1e-30)
    got = machine.run("expm1", tiny)
    np.testing.assert_array_equal(got, tiny)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(tiny))


HUGE = (1e5, 1e8, 1e15, 1e30, 3.4028235e38, np.inf)


@on_each_machine
@pytest.mark.parametrize("name", ["exp", "exp2", "sigmoid"])
def test_ends(machine: Machine, name: str) -> None:
    top = 1.0 if name == "sigmoid" else np.inf
    np.testing.assert_array_equal(machine.run(name, floats(*HUGE)), np.full(6, top, np.float32))
    np.testing.assert_array_equal(machine.run(name, -floats(*HUGE)), np.zeros(6, np.float32))
    assert np.isnan(machine.run(name, floats(np.nan, -np.nan))).all()


@on_each_machine
def test_exact_values(machine: Machine) -> None:
    assert (machine.run("exp", floats(0, -0.0, 1e-40, -1e-40)) == 1).all()
    assert (machine.run("sigmoid", floats(0, -0.0)) == 0.5).all()
    powers = np.arange(-125, 128).astype(np.float32)
    want = np.exp2(powers.astype(np.float64))
    np.testing.assert_array_equal(machine.run("exp2", powers), want)


@on_each_machine
def test_overflow_and_underflow_where_f32_ends(machine: Machine) -> None:
    assert np.isfinite(machine.run("exp", floats(88.72283))).all()
    assert np.isinf(machine.run("exp", floats(88.7229))).all()
    x = uniform(-110, -86.9, 2000)
    small = machine.run("exp", x)
    assert (
        (small == 0) | np.isclose(small, np.exp(x.astype(np.float64)), rtol=1e-6, atol=2e-45)
    ).all()
    assert (small[x < -104] == 0).all()


@pytest.mark.parametrize(
    ("name", "precision", "count"),
    [("exp", "f32", 10), ("exp2", "f32", 7), ("exp", "bf16", 8), ("exp2", "bf16", 5)],
)
def test_length_with_avx512(name: str, precision: str, count: int) -> None:
    full = (m for m in MACHINES if m.target.lanes == m.lanes == 16)
    functions = (m.function(name, "float32", precision=precision) for m in full)
    if (function := next(functions, None)) is None:
        pytest.skip("the host has no AVX-512")
    moves = ("vmov", "mov", "vbroadcast", "lea", "vzeroupper", "ret")
    arithmetic = [i for i in function.instructions() if not i.startswith(moves)]
    assert len(arithmetic) == count, arithmetic
