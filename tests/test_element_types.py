"""Element types are rows: integers of 8 bits, and a type that is added from outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from llvmlite import ir

from snipjit.ir.element_types import ELEMENT_TYPES, Array, ElementType, round_to
from snipjit.ir.exact_integers import EXACT, FARTHEST, LONGEST, SMALL
from snipjit.ir.operations import ELEMENTWISE, add_element_type, kind_of
from snipjit.ir.schedule import OF_PRODUCTS, Schedule
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.passes.llvm.emit_convert import CONVERSIONS, Conversion
from snipjit.passes.llvm.vector_ir import F32, I8, I32, constant, with_element
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.kernels import NARROW_VARIANTS
from tests.kernels import SMALL as SMALL_ROWS
from tests.passes.llvm.one_function import Machine, on_each_machine

of = TensorType.of
SIZES = [{"m": 1, "n": 1}, {"m": 13, "n": 31}]


def attention(dtype: str, result: str, query: str = "f32") -> Subgraph:
    """``softmax(q kᵀ) v`` with keys and values of one type, and a result of another."""
    build = SubgraphBuilder("test")
    build.axes |= {"q1": 16, "k1": 16, "v1": 16}
    q = build.add("parameter", of(query, "q0", "q1"), name="q")
    q = build.add("to_f32", of("f32", "q0", "q1"), q) if query != "f32" else q
    k, v = (build.add("parameter", of(dtype, f"{x}0", f"{x}1"), name=x) for x in "kv")
    k, v = (build.add("to_f32", of("f32", f"{x}0", f"{x}1"), x) for x in (k, v))
    kt = build.add("transpose", of("f32", "k1", "k0"), k, order=(1, 0))
    s = build.add("matmul", of("f32", "q0", "k0"), q, kt)
    s = build.add("mul", of("f32", "q0", "k0"), s, build.add("scalar", of("f32"), name="scale"))
    p = build.add("softmax", of("f32", "q0", "k0"), s, dim=-1)
    o = build.add("matmul", of("f32", "q0", "v1"), p, v)
    build.result(build.add(f"to_{result}", of(result, "q0", "v1"), o), name="y")
    return build.subgraph()


def check(subgraph: Subgraph, target: TargetMachine, schedule: Schedule, scale: float) -> None:
    """Compare a kernel with the interpreter in float64, at several sizes."""
    run = kernels.launcher(subgraph, target, schedule)
    for seed, sizes in enumerate(SIZES):
        tensors, _ = kernels.inputs(subgraph, sizes, seed)
        tensors[0] = tensors[0] * scale
        (got,) = kernels.results(run, tensors, [0.4])
        (want,) = kernels.expected(subgraph, tensors, [0.4])
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("query", ["f32", "bf16"])
@pytest.mark.parametrize("variant", NARROW_VARIANTS)
@pytest.mark.parametrize("dtype", ["i8", "u8", "f8e4m3fn", "f8e5m2"])
def test_keys_and_values_of_8_bits(dtype: str, variant: str, query: str) -> None:
    """Also beside queries of a type that is multiplied in pairs."""
    check(attention(dtype, "f32", query), *NARROW_VARIANTS[variant], scale=1.0)


EDGES = [-1000, -128.5, -128, -127.9, -1.5, -0.5, -0.0, 0.5, 0.99, 1.5, 126.9, 127, 127.5, 255.9,
         300, float("inf"), -float("inf"), float("nan")]  # fmt: skip


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@on_each_machine
def test_what_follows_the_point_is_cut_off(machine: Machine, dtype: str) -> None:
    numbers = np.array(EDGES, np.float32)
    want = round_to(dtype, numbers)
    np.testing.assert_array_equal(machine.run(f"to_{dtype}", numbers), want)
    inside = (numbers >= ELEMENT_TYPES[dtype].lowest) & (numbers <= ELEMENT_TYPES[dtype].largest)
    torch_type = getattr(torch, ELEMENT_TYPES[dtype].torch)
    torch_has = torch.from_numpy(numbers[inside]).to(torch_type).float()
    np.testing.assert_array_equal(want[inside], torch_has.numpy())


@pytest.mark.parametrize("cast", [name for name in ELEMENTWISE if kind_of(name) == "cast"])
@on_each_machine
def test_every_cast_means_what_its_row_says(machine: Machine, cast: str) -> None:
    numbers = np.array([*EDGES, 3e9, -3e9, 65504, 65520, 1e-8], np.float32)
    with np.errstate(all="ignore"):
        want = ELEMENTWISE[cast].numpy(numbers)
    np.testing.assert_array_equal(machine.run(cast, numbers), want)


def test_the_shares_of_whole_numbers_stay_exact() -> None:
    assert LONGEST + FARTHEST + SMALL <= EXACT


# A type of 8 bits that snipjit does not have: 5 bits of exponent, 2 of mantissa, no infinities.

TORCH = torch.float8_e5m2fnuz


def rounded(array: Array) -> Array:
    """What torch makes of it."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(TORCH).to(torch.float32).numpy()


FLOAT8 = ElementType("f8e5m2fnuz", "float", 8, -57344.0, 57344.0, "float8_e5m2fnuz", "f32", rounded)
UNIT = 2.0**111
"""The bits, moved to float32's exponent, are too small by this."""
NAN = 0x80


def widen(builder: ir.IRBuilder, _: TargetMachine, bits: ir.Value) -> ir.Value:
    """Magnitude and sign moved up; the one pattern that would be -0 is NaN."""
    shape, floats = with_element(bits.type, I32), with_element(bits.type, F32)
    wide = builder.zext(bits, shape)
    magnitude = builder.shl(builder.and_(wide, constant(shape, 0x7F)), constant(shape, 21))
    number = builder.fmul(builder.bitcast(magnitude, floats), constant(floats, UNIT))
    sign = builder.shl(builder.and_(wide, constant(shape, 0x80)), constant(shape, 24))
    signed = builder.bitcast(builder.or_(builder.bitcast(number, shape), sign), floats)
    is_nan = builder.icmp_unsigned("==", wide, constant(shape, NAN))
    return builder.select(is_nan, constant(floats, float("nan")), signed)


def narrow(builder: ir.IRBuilder, _: TargetMachine, value: ir.Value) -> ir.Value:
    """To the nearest, ties to even; what is too large is NaN."""
    shape, floats = with_element(value.type, I32), value.type
    bits = builder.bitcast(value, shape)
    sign = builder.and_(bits, constant(shape, 0x80000000))
    magnitude = builder.xor(bits, sign)
    odd = builder.and_(builder.lshr(magnitude, constant(shape, 21)), constant(shape, 1))
    biased = builder.add(magnitude, builder.add(odd, constant(shape, (1 << 20) - 1)))
    normal = builder.sub(builder.lshr(biased, constant(shape, 21)), constant(shape, 111 << 2))
    magic = constant(floats, 2.0**6)  # its last bit is worth as much as the type's least number
    shifted = builder.fadd(builder.bitcast(magnitude, floats), magic)
    small = builder.sub(builder.bitcast(shifted, shape), builder.bitcast(magic, shape))
    is_small = builder.icmp_unsigned("<", magnitude, constant(shape, (127 - 15) << 23))
    found = builder.select(is_small, small, normal)
    found = builder.or_(found, builder.lshr(sign, constant(shape, 24)))
    is_zero = builder.icmp_unsigned("==", found, constant(shape, NAN))
    found = builder.select(is_zero, constant(shape, 0), found)
    too_large = builder.icmp_unsigned(">=", magnitude, constant(shape, (127 + 16) << 23))
    most = builder.icmp_signed(">", normal, constant(shape, 0x7F))
    found = builder.select(builder.or_(too_large, most), constant(shape, NAN), found)
    return builder.trunc(found, with_element(value.type, I8))


@pytest.fixture
def float8(monkeypatch: pytest.MonkeyPatch) -> str:
    """The type, for one test."""
    cast = f"to_{FLOAT8.name}"
    monkeypatch.setitem(ELEMENT_TYPES, FLOAT8.name, FLOAT8)
    monkeypatch.setitem(ELEMENTWISE, cast, ELEMENTWISE["to_bf16"])
    add_element_type(FLOAT8)
    monkeypatch.setitem(CONVERSIONS, FLOAT8.name, Conversion(widen, narrow))
    return FLOAT8.name


@on_each_machine
def test_an_added_type_converts(machine: Machine, float8: str) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(TORCH).float().numpy()
    numbers = every[~np.isnan(every)]
    between = (numbers[:-1] + numbers[1:]) / 2
    far = np.array([1e9, 65536, -61440, 1e-9, -1e-9, np.inf, np.nan], np.float32)
    numbers = np.concatenate([numbers, between, far])
    with np.errstate(all="ignore"):
        want = round_to(float8, numbers)
    np.testing.assert_array_equal(machine.run(f"to_{float8}", numbers), want)


@pytest.mark.parametrize("schedule", OF_PRODUCTS, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("row", SMALL_ROWS)
def test_an_added_type_in_memory(float8: str, row: str, schedule: Schedule) -> None:
    check(attention(float8, "f32"), SMALL_ROWS[row], schedule, scale=1.0)


def test_an_added_type_as_a_result(float8: str) -> None:
    subgraph = attention(float8, float8)
    run = kernels.launcher(subgraph, SMALL_ROWS["portable"])
    tensors, scalars = kernels.inputs(subgraph, {"m": 7, "n": 13})
    result = run(*tensors, *scalars)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == TORCH
    (want,) = kernels.expected(subgraph, tensors, scalars)
    apart = np.abs(result.float().numpy() - want) / np.maximum(np.abs(want), 2.0**-15)
    assert apart.max() <= 0.25  # a rounding of one part in eight may fall to either side
