"""Tests of ``snipjit/runtime/runtime_configurator.py``."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import structures
from snipjit.compiler import lower
from snipjit.errors import InputError
from snipjit.ir.schedule import Schedule
from snipjit.recipes import FEW_TASKS, recipe_of
from snipjit.runtime.interface import Interface, dense
from snipjit.runtime.runtime_configurator import (
    ENOUGH_TASKS,
    LITTLE_WORK,
    Recipe,
    RuntimeConfig,
    RuntimeConfigurator,
    SplitLoop,
    split_chunks,
    split_parallel,
)
from tests.kernels import TARGETS
from tests.runtime.workers import interface, recipe, spec

CALLED = interface(
    "b hk g m n k=4 d=8",
    [spec("q", "b|hk g|m|k"), spec("k", "b|hk|n|k"), spec("v", "b|hk|n|d"),
     spec("mask", "b||m|n", "i1")],
    [spec("o", "b|m|hk g d")],
    ("scale",),
)  # fmt: skip
ATTENTION = recipe(
    CALLED, (("b", 1, 1), ("hk", 1, 1), ("g", 1, 1), ("m", 48, 16)), scratch_bytes=100
)


def configure(what: Recipe, *arrays: np.ndarray, of: Interface = CALLED) -> RuntimeConfig:
    strides = [tuple(s // a.itemsize for s in a.strides) for a in arrays]
    shapes = [array.shape for array in arrays]
    return RuntimeConfigurator(of, what).configure(of.sizes(shapes), shapes, strides)


def attention(m: int = 31, n: int = 50) -> list[np.ndarray]:
    f32 = np.float32
    return [np.zeros((2, 6, m, 4), f32), np.zeros((2, 2, n, 4), f32), np.zeros((2, 2, n, 8), f32),
            np.zeros((2, 1, m, n), np.bool_)]  # fmt: skip


def slots(config: RuntimeConfig, what: Recipe = ATTENTION) -> dict[str, int]:
    return dict(zip(what.fields, config.slots, strict=True))


def test_every_slot_of_an_attention() -> None:
    config = configure(ATTENTION, *attention())
    slot = slots(config)
    assert [slot[f"size.{axis}"] for axis in ("b", "hk", "g", "m", "n", "k", "d")] == [
        2, 2, 3, 31, 50, 4, 8,
    ]  # fmt: skip
    assert config.tasks == slot["tasks"] == 2 * 2 * 3
    assert (slot["blocks.m"], slot["step.m"]) == (1, 32)
    assert (slot["stride.q.g"], slot["rewind.q.g"]) == (31 * 16, -31 * 16 * 3)
    assert slot["stride.q.hk"] == 3 * 31 * 16
    assert (slot["stride.mask.m"], slot["stride.mask.n"]) == (50, 1)
    assert config.output_shapes == ((2, 31, 48),)
    assert config.output_strides == ((31 * 48, 48, 1),)
    assert (slot["stride.o.d"], slot["stride.o.g"], slot["stride.o.hk"]) == (4, 32, 96)
    assert not config.copies
    assert slot["counter"] == slot["data.q"] == slot["scalar.scale"] == 0


def test_pure_and_plain() -> None:
    assert configure(ATTENTION, *attention()) == configure(ATTENTION, *attention())
    assert pickle.loads(pickle.dumps(ATTENTION)) == ATTENTION


def test_broadcast_dims_do_not_move() -> None:
    q, k, v, mask = attention()
    config = configure(ATTENTION, q, k[:1], v, mask[:1, :, :1])
    slot = slots(config)
    assert slot["stride.k.b"] == slot["stride.mask.b"] == slot["stride.mask.m"] == 0
    assert slot["rewind.mask.m"] == 0
    assert slot["stride.mask.n"] == 1
    assert not config.copies


def test_an_innermost_dim_of_stride_not_one_is_copied() -> None:
    q, k, v, mask = attention()
    k = np.ascontiguousarray(np.swapaxes(k, 2, 3)).swapaxes(2, 3)
    mask = np.broadcast_to(mask[:1, :, :1, ::-1], (2, 1, 31, 50))
    config = configure(ATTENTION, q, k, v, mask)
    slot = slots(config)
    assert set(config.copies) == {1, 3}
    assert config.copies[1].shape == k.shape
    assert config.copies[3].shape == (1, 1, 1, 50), "a dim of stride 0 is not repeated"
    assert slot["stride.k.n"] == 16
    assert (slot["stride.mask.b"], slot["stride.mask.m"], slot["stride.mask.n"]) == (0, 0, 1)


def test_an_innermost_dim_that_broadcasts_is_copied_in_full() -> None:
    q, k, v, mask = attention()
    config = configure(ATTENTION, q, k, v, mask[..., :1])
    assert config.copies[3].shape == (2, 1, 31, 50)
    assert config.copies[3].strides[-1] == 0
    assert slots(config)["stride.mask.m"] == 50


def test_empty_and_single_dims() -> None:
    q, k, v, mask = attention(m=0)
    config = configure(ATTENTION, q, k, v, mask)
    assert config.tasks == 0
    assert config.output_shapes == ((2, 0, 48),)
    assert config.output_strides == ((48, 48, 1),)
    config = configure(ATTENTION, *attention(n=0))
    assert config.tasks == 12
    assert slots(config)["size.n"] == 0
    assert configure(ATTENTION, *attention(m=1, n=1)).tasks == 12


def test_misfits_are_named() -> None:
    q, k, v, mask = attention()
    with pytest.raises(InputError, match="'v'"):
        configure(ATTENTION, q, k, v[:, :, :7], mask)


@given(st.integers(0, 5000), st.integers(1, 12), st.integers(1, 16))
def test_blocks_cover_an_axis_evenly(size: int, granules: int, granule: int) -> None:
    max_step = granules * granule
    blocks, step = split_parallel(size, max_step, granule)
    assert 1 <= step <= max_step
    assert step % granule == 0
    assert (blocks - 1) * step < size <= blocks * step or (size == 0 == blocks)
    assert blocks <= -(-size // max_step)


@pytest.mark.parametrize(
    ("size", "wanted", "found"),
    [
        (576, 8, (6, 96)),  # and not 8 of 80, of which each has a panel and a part of one
        (768, 8, (8, 96)),
        (1408, 1, (8, 192)),
        (109, 8, (2, 64)),  # panels would make 96 and 13
        (54, 8, (1, 64)),
    ],
)
def test_blocks_have_whole_panels_if_these_are_enough(
    size: int, wanted: int, found: tuple[int, int]
) -> None:
    assert split_parallel(size, 192, 16, wanted, panel=48) == found


@pytest.mark.parametrize(
    ("schedule", "axis", "granule", "panel", "enough"),
    [
        (Schedule.OUTPUTS, "n", 16, 48, ENOUGH_TASKS),
        (Schedule.OUTPUTS, "m", 8, 0, ENOUGH_TASKS),  # whole tiles: 440 rows are 224 and 216
        (Schedule.ROWS, "n", 12, 0, FEW_TASKS),
        (Schedule.ROWS, "m", 16, 0, ENOUGH_TASKS),
    ],
)
def test_tasks_of_linear_layers(
    schedule: Schedule, axis: str, granule: int, panel: int, enough: int
) -> None:
    lir = lower(structures.linear(), TARGETS["avx512"], schedule=schedule)
    (loop,) = (loop for loop in recipe_of(lir).parallel if loop.axis == axis)
    assert (loop.granule, loop.panel, loop.enough) == (granule, panel, enough)


def test_dense_follows_the_order() -> None:
    assert dense((2, 3, 4)) == (12, 4, 1)
    assert dense((2, 3, 4), (1, 0, 2)) == (4, 8, 1)
    assert dense((2, 0, 4)) == (4, 4, 1)
    assert dense(()) == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_strides_reach_every_element(data: st.DataObject) -> None:
    """Reading a tensor by its slots alone gives the values that broadcasting gives."""
    sizes = {axis: data.draw(st.integers(1, 4), axis) for axis in "abcd"}
    inputs = [spec("x", "a b|c|d"), spec("y", "a|b|c|d")]
    of = interface("a b c d", inputs, [spec("o", "a b c d")])
    what = recipe(of)
    shapes = [(sizes["a"] * sizes["b"], sizes["c"], sizes["d"]), tuple(sizes.values())]
    order = data.draw(st.permutations([0, 1, 2]))
    full = np.arange(np.prod(shapes[0]), dtype=np.float32)
    x = full.reshape([shapes[0][i] for i in order]).transpose(np.argsort(order))
    if data.draw(st.booleans()):
        x = x[:, :1]
    config = configure(what, x, np.zeros(shapes[1], np.float32), of=of)
    if 0 in config.copies:
        view = np.broadcast_to(x, shapes[0])
        x = np.ascontiguousarray(view[tuple(slice(size) for size in config.copies[0].shape)])
    slot = slots(config, what)
    read = np.lib.stride_tricks.as_strided(
        x, tuple(sizes.values()), [slot[f"stride.x.{axis}"] for axis in "abcd"]
    )
    expected = np.broadcast_to(
        x.reshape(sizes["a"], sizes["b"], *x.shape[1:]), tuple(sizes.values())
    )
    assert np.array_equal(read, expected)
    assert all(
        slot[f"rewind.x.{axis}"] == -slot[f"stride.x.{axis}"] * size for axis, size in sizes.items()
    )


@given(st.integers(0, 300_000), st.integers(1, 64))
def test_chunks_cover_a_stream(size: int, wanted: int) -> None:
    """No chunk is empty but that of an empty stream; all but the last are whole blocks."""
    chunks, step = split_chunks(size, 512, 128, wanted)
    assert 1 <= chunks <= max(min(wanted, size // 512), 1)
    assert step % 128 == 0
    assert chunks == 1 or (chunks - 1) * step < size <= chunks * step
    assert size <= chunks * step


SPLIT = replace(
    ATTENTION,
    fields=(*ATTENTION.fields, "blocks.n", "step.n", "arrived.0"),
    split=SplitLoop("n", 512, 128, 64, 192),
)


@pytest.mark.parametrize(
    ("columns", "chunks", "step"), [(0, 1, 128), (50, 1, 128), (1023, 1, 1024), (1025, 2, 640),
                                    (100_000, 6, 16768)],
)  # fmt: skip
def test_slots_of_a_split_loop(columns: int, chunks: int, step: int) -> None:
    """Twelve groups make chunks until there are some 64 tasks; these share memory if several."""
    config = configure(SPLIT, *attention(31, columns))
    slot = slots(config, SPLIT)
    assert (slot["blocks.n"], slot["step.n"], slot["arrived.0"]) == (chunks, step, 0)
    assert config.tasks == slot["tasks"] == 12 * chunks
    assert config.shared == slot["shared"] == (12 * chunks * 192 if chunks > 1 else 0)


def test_many_groups_are_not_split() -> None:
    arrays = [np.zeros((16, *array.shape[1:]), array.dtype) for array in attention(8, 5000)]
    assert slots(configure(SPLIT, *arrays), SPLIT)["blocks.n"] == 1


def test_little_work_is_for_one_thread() -> None:
    """Whatever the number of tasks; without products there is no telling."""
    products = (("b", "hk", "g", "m", "n", "k"), ("b", "hk", "g", "m", "n", "d"))
    counted = replace(ATTENTION, products=products)
    for m, n in ((1, 9), (31, 50), (31, 5000)):
        config = configure(counted, *attention(m, n))
        assert config.tasks > 1
        assert config.one_thread == (2 * 6 * m * n * (4 + 8) < LITTLE_WORK)
        assert not configure(ATTENTION, *attention(m, n)).one_thread
