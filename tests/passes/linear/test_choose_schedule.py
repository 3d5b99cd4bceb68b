"""ChooseSchedule: roles and sizes of axes; what is edited in the text is what later passes obey."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks import structures
from snipjit.compiler import optimize
from snipjit.errors import UnsupportedError, VerificationError
from snipjit.ir.linear_ir import LinearIR, Loop
from snipjit.ir.loop_nest import parallel_loops
from snipjit.ir.schedule import OF_PRODUCTS, Schedule
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.base import run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.passes.linear.choose_schedule import ChooseSchedule
from snipjit.target.candidates import candidate
from tests import kernels, subgraphs
from tests.kernels import SMALL, native_in_turn
from tests.linear_examples import BY_COLUMNS, EXAMPLES, TINY, before_and_after, canonical

SOFTMAX = """
linear @g lanes m x 4
axis b
axis m
axis n
axis d = 8
input %q : f32[b][m][d]
input %k : f32[b][n][d]
output %y : f32[b][m][n] order 0 1 2
%s = brgemm %q %k {over=(d)} : f32[b n m]
%x = reduce %s {monoid=max, over=(n)} : f32[b m]
%c = sub %s %x : f32[b n m]
store %y %c : f32[b n m]
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(ChooseSchedule(TINY), SOFTMAX))


def chosen(name: str, schedule: Schedule = Schedule.ROWS) -> LinearIR:
    lir: LinearIR = run_pipeline(pipeline(TINY, schedule), canonical(name), until="ChooseSchedule")
    return lir


def roles(name: str, schedule: Schedule = Schedule.ROWS) -> dict[str, str]:
    return {axis: plan.role for axis, plan in chosen(name, schedule).plans.items()}


def test_roles_of_attention() -> None:
    want = {"b0": "batch", "b1": "batch", "m": "rows", "n": "stream", "d": "contraction"}
    assert roles("attention_static") == {**want, "e": "columns"}
    assert roles("attention_static", Schedule.COLUMNS) == {**want, "e": "columns"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_axis_has_a_plan(name: str) -> None:
    for schedule in OF_PRODUCTS if name in BY_COLUMNS else (Schedule.ROWS,):
        lir = chosen(name, schedule)
        assert list(lir.plans) == list(lir.axes)
        verify(lir)


def test_columns_of_layers_are_lanes_where_something_follows_them() -> None:
    def lanes(subgraph: Subgraph) -> tuple[str, ...]:
        steps = pipeline(SMALL["avx512"], Schedule.COLUMNS)
        lir: LinearIR = run_pipeline(steps, subgraph, until="ChooseSchedule")
        return lir.lanes

    assert lanes(structures.linear(gelu=False)) == ("n", "k")
    build = structures.Model("alone", m=None, n=96, k=64)
    build.result(build.product(build.weight("x", "m", "k"), build.weight("w", "n", "k"), "k"))
    assert lanes(build.subgraph()) == ("k",)


def test_columns_of_unknown_size_are_split_among_tasks() -> None:
    assert chosen("attention").plans["e"].task == candidate(TINY, Schedule.ROWS).columns
    assert chosen("attention_static").plans["e"].task == 0


def test_two_streamed_axes_of_unknown_size_are_refused() -> None:
    text = """
    linear @g lanes m x 4
    axis m
    axis n
    axis h
    input %x : f32[m][h][n]
    output %y : f32[m] order 0
    %s = reduce %x {monoid=sum, over=(n)} : f32[h m]
    %t = reduce %s {monoid=sum, over=(h)} : f32[m]
    store %y %t : f32[m]
    """
    with pytest.raises(UnsupportedError, match="axes n, h are all of unknown size"):
        ChooseSchedule(TINY).run(parse_linear(text))


# What was chosen may be edited.

GRAPHS: dict[str, Callable[[], Subgraph]] = {
    "padding": lambda: subgraphs.attention("padding", D=24),
    "grouped": lambda: subgraphs.sdpa(gqa=True, D=16),
    "mlp": lambda: subgraphs.mlp(D=32),
}
SIZES = [{"m": 1, "n": 1}, {"m": 13, "n": 31}, {"m": 70, "n": 45}]


def edited(
    subgraph: Subgraph, row: str, schedule: Schedule, axis: str, **sizes: int
) -> tuple[LinearIR, str]:
    """The final form after some sizes of an axis were changed in the text of the schedule."""
    steps = pipeline(SMALL[row], schedule)
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    text = print_linear(run_pipeline(steps[:at], optimize(subgraph)))
    line = next(line for line in text.splitlines() if re.match(rf"axis {axis}\b", line))
    new = line
    for name, size in sizes.items():
        assert f" {name} " in new, f"no {name} in {new!r}"
        new = re.sub(rf" {name} \d+", f" {name} {size}", new)
    assert new != line
    chosen = parse_linear(text.replace(line, new))
    verify(chosen)
    lir: LinearIR = run_pipeline(steps[at:], chosen)
    verify(lir, final=True)
    return lir, text


EDITS: list[tuple[Schedule, str, dict[str, int]]] = [
    (Schedule.ROWS, "m", {"task": 64, "panel": 32}),
    (Schedule.ROWS, "m", {"task": 16, "panel": 16}),
    (Schedule.ROWS, "n", {"block": 20}),
    (Schedule.ROWS, "n", {"tile": 5, "unroll": 3}),
    (Schedule.COLUMNS, "m", {"task": 3, "panel": 2}),
    (Schedule.COLUMNS, "n", {"block": 16, "chunk": 16}),
    (Schedule.COLUMNS, "n", {"vectors": 1}),
]


@pytest.mark.parametrize("graph", ["padding", "grouped"])
@pytest.mark.parametrize(("edit", "row"), native_in_turn(EDITS, SMALL))
def test_later_passes_obey_what_the_text_says(
    graph: str, row: str, edit: tuple[Schedule, str, dict[str, int]]
) -> None:
    subgraph, (schedule, axis, sizes) = GRAPHS[graph](), edit
    lir, _ = edited(subgraph, row, schedule, axis, **sizes)
    if "task" in sizes:
        assert [loop.step for loop in parallel_loops(lir) if loop.axis == axis] == [sizes["task"]]
    if "block" in sizes:
        loops = [s for s, _ in lir.walk() if isinstance(s, Loop) and s.axis == axis]
        assert any(loop.step == sizes["block"] for loop in loops if not loop.parallel)
    run = kernels.launcher_of(lir, SMALL[row])
    for seed, of in enumerate(SIZES):
        tensors, scalars = kernels.inputs(subgraph, of, seed)
        kernels.assert_right(run, subgraph, tensors, scalars)


READS = [("place, place", "task, place"), ("task, place", "place, place")]


@pytest.mark.parametrize("row", SMALL)
@pytest.mark.parametrize("layout", ["rows", "features"])
def test_operands_may_be_packed_or_read_in_place(row: str, layout: str) -> None:
    """Packed to in place, and back: queries whose rows, or whose features, are neighbours."""
    build = SubgraphBuilder("test", d=8, e=4)
    dims = ("d", "m") if layout == "rows" else ("m", "d")
    q = build.add("parameter", TensorType.of("f32", "b", *dims), name="q")
    k = build.add("parameter", TensorType.of("f32", "b", "n", "d"), name="k")
    s = build.add("brgemm", TensorType.of("f32", "b", "m", "n"), q, k, over=("d",))
    w = build.add("exp", TensorType.of("f32", "b", "m", "n"), s)
    total = build.add("reduce", TensorType.of("f32", "b", "m"), w, monoid="sum", over=("n",))
    build.result(total, name="y")
    subgraph, steps = build.subgraph(), pipeline(SMALL[row])
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    text = print_linear(run_pipeline(steps[:at], subgraph))
    want = "place, place" if layout == "rows" else "task, place"
    assert f"read=({want})" in text
    other = dict(READS)[want]
    random = np.random.default_rng(0)
    results = []
    for chosen in (text, text.replace(f"read=({want})", f"read=({other})")):
        lir: LinearIR = run_pipeline(steps[at:], parse_linear(chosen))
        verify(lir, final=True)
        assert ("q.packed" in print_linear(lir)) == ("task" in (want if chosen == text else other))
        run = kernels.launcher_of(lir, SMALL[row])
        for m, n in ((1, 1), (13, 31), (70, 45)):
            shape = (2, 8, m) if layout == "rows" else (2, m, 8)
            q_array, k_array = random.normal(size=shape) / 4, random.normal(size=(2, n, 8)) / 4
            tensors = [torch.from_numpy(a.astype(np.float32)) for a in (q_array, k_array)]
            rows = q_array.swapaxes(1, 2) if layout == "rows" else q_array
            right = np.exp(rows @ k_array.swapaxes(1, 2)).sum(-1)
            (got,) = kernels.results(run, tensors, [])
            np.testing.assert_allclose(got, right, rtol=2e-5)
        results.append(print_linear(lir))
    assert results[0] != results[1]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("(task, task)", "%k grows with axis n"),
        ("(task)", "two factors"),
        ("(task, sometimes)", "place, task, block"),
    ],
)
def test_reads_that_do_not_fit_are_named(read: str, message: str) -> None:
    lir = ChooseSchedule(TINY).run(parse_linear(SOFTMAX))
    text = print_linear(lir)
    assert "read=(task, place)" in text
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text.replace("read=(task, place)", f"read={read}")))


def test_another_size_gives_another_kernel() -> None:
    texts = {
        print_linear(edited(GRAPHS["padding"](), "portable", schedule, axis, **sizes)[0])
        for schedule, axis, sizes in EDITS
    }
    assert len(texts) == len(EDITS)


@pytest.mark.parametrize(
    ("axis", "sizes", "message"),
    [
        ("m", {"panel": 6}, r"axis m \(rows\): panel 6 is no multiple of 4 lanes"),
        ("m", {"panel": 32, "task": 16}, "panel 32 is more than task 16"),
        ("m", {"task": 0}, "it needs a task"),
        ("n", {"block": 0}, "it needs a block"),
        ("n", {"tile": 0}, "it needs a tile and an unroll"),
        ("b0", {"task": 2}, "a task has one element"),
    ],
)
def test_what_does_not_fit_is_named(axis: str, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        edited(GRAPHS["padding"](), "portable", Schedule.ROWS, axis, **sizes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("b0 : batch task 1", "b0 : batch task 1 block 8", "it has no block"),
        ("b0 : batch task 1", "b0 : batch task 1 panel 1", "only rows and columns have panels"),
        (" d = 24 : contraction", " d = 24 : stream block 8", "have blocks: one can"),
        ("n : stream block 8", "n : stream chunk 12 block 8", "do not fit each other"),
        ("b0 : batch task 1", "b0 : batch task 1 chunk 8", "only a stream has chunks"),
    ],
)
def test_roles_and_sizes_fit_each_other(old: str, new: str, message: str) -> None:
    steps = pipeline(SMALL["portable"])
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    text = print_linear(run_pipeline(steps[:at], optimize(GRAPHS["padding"]())))
    assert old in text
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(text.replace(old, new)))
