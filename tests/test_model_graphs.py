"""Linear layers, MLPs, normalizations and gradients: the same passes, without a special case."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import structures as model_graphs
from benchmarks.structures import GRAPHS
from snipjit.compiler import lower
from snipjit.errors import InputError, UnsupportedError, VerificationError
from snipjit.ir.expression import Expression
from snipjit.ir.interpret import linear as interpret_linear
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import Loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph, TensorType
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import allocate_buffers, pipeline, serving
from snipjit.passes.linear.allocate_buffers import scratch_bytes
from snipjit.recipes import interface_of
from snipjit.runtime.engine import host_features
from snipjit.target.candidates import Serves
from snipjit.target.target_machine import TargetMachine, select
from tests import kernels
from tests.kernels import ROWS, SMALL, native_in_turn, small
from tests.linear_examples import TINY
from tests.narrow import torch_type

FEW: dict[str, Callable[[], Subgraph]] = {
    "linear": lambda: model_graphs.linear(48, 80),
    "linear across": lambda: model_graphs.linear(48, 80, across=True),
    "product": model_graphs.product,
    "mlp": lambda: model_graphs.mlp(48, 80, 36),
    "swiglu": lambda: model_graphs.swiglu(48, 80),
    "rms norm and linear": lambda: model_graphs.rms_norm_linear(48, 80),
    "layer norm": lambda: model_graphs.layer_norm(80),
    "two segments": lambda: model_graphs.two_segments(16),
    "gradient of queries": lambda: model_graphs.query_gradient(16),
    "gradient of keys and values": lambda: model_graphs.key_gradient(16),
}
"""With few features: what interpreters and emulated targets run."""

SIZES: tuple[Mapping[str, int], ...] = (
    {"m": 1, "n": 1, "j": 31, "k": 1, "h": 1},
    {"m": 13, "n": 77, "j": 1, "k": 31, "h": 2},
    {"m": 77, "n": 17, "j": 13, "k": 77, "h": 1},
)
LARGE = ("linear, wide", "mlp, wide")
"""What runs with the long tests at the sizes of models."""


def tensors(subgraph: Subgraph, given: Mapping[str, int], seed: int = 0) -> list[torch.Tensor]:
    """Random inputs; those with several axes are small enough that sums are about 1."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for node in subgraph.parameters:
        shape = [subgraph.axes[axis] or given[axis] for axis in node.type.axes]
        numbers = torch.randn(shape, generator=generator)
        made.append(numbers / max(shape[-1], 1) ** 0.5 if len(shape) > 1 else numbers)
    return made


def schedules(subgraph: Subgraph, target: TargetMachine) -> list[Schedule]:
    """The schedules that its table has for a target."""
    return [row.schedule for row in serving(subgraph, target) if row.schedule is not None]


def check(subgraph: Subgraph, target: TargetMachine, schedule: Schedule, sizes: Any) -> None:
    """A kernel agrees with the Subgraph's interpreter in float64."""
    lir = lower(subgraph, target, schedule=schedule)
    verify(lir, final=True)
    run = kernels.launcher_of(lir, target)
    for seed, given in enumerate(sizes):
        kernels.assert_right(run, subgraph, tensors(subgraph, given, seed), [])


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_built_is_canonical(name: str) -> None:
    verify_canonical(GRAPHS[name]())


LONG = ("mlp", "rms norm and linear", "linear across", "gradient of keys and values")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in FEW],
)
def test_every_pass_keeps_the_meaning(name: str) -> None:
    """Each stage of each schedule is legal, and computes the same."""
    subgraph = FEW[name]()
    calls = [[t.double().numpy() for t in tensors(subgraph, given)] for given in SIZES[1:]]
    wanted = [interpret_subgraph(subgraph, call, ()) for call in calls]

    def keeps(step: Pass, lir: Any) -> None:
        verify(lir)
        for call, want in zip(calls, wanted, strict=True):
            for got, right in zip(interpret(lir, call, ()), want, strict=True):
                np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-9, err_msg=step.name)

    for schedule in schedules(subgraph, TINY):
        run_pipeline(pipeline(TINY, schedule), subgraph, dump=keeps)


@pytest.mark.parametrize(("name", "row"), native_in_turn([*FEW], SMALL))
def test_small_tiles_of_every_schedule(name: str, row: str) -> None:
    subgraph = FEW[name]()
    for schedule in schedules(subgraph, SMALL[row]):
        check(subgraph, SMALL[row], schedule, SIZES)


@pytest.mark.parametrize(("name", "row"), native_in_turn([*FEW], ROWS))
def test_every_target(name: str, row: str) -> None:
    """With the tiles that users get, emulated where the host lacks the row."""
    subgraph = FEW[name]()
    for schedule in schedules(subgraph, ROWS[row]):
        check(subgraph, ROWS[row], schedule, SIZES[1:2])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if n in LARGE else []) for n in GRAPHS]
)
def test_the_sizes_of_models(name: str) -> None:
    target, subgraph = select(host_features()), GRAPHS[name]()
    for schedule in schedules(subgraph, target):
        check(subgraph, target, schedule, [{"m": 131, "n": 157, "j": 33, "k": 1031, "h": 2}])


@pytest.mark.parametrize("name", ["two segments", "gradient of queries", "product"])
def test_nothing_is_summed(name: str) -> None:
    """Segments, keys and contractions of size 0."""
    subgraph, target = FEW[name](), small(select(host_features()))
    sizes = [{"m": 5, "n": 0, "j": 7, "k": 0, "h": 1}, {"m": 0, "n": 9, "j": 0, "k": 9, "h": 1}]
    for schedule in schedules(subgraph, target):
        check(subgraph, target, schedule, sizes)


CHOSEN = "^linear|^axis|read="


@pytest.mark.parametrize("name", GRAPHS)
def test_the_schedule(golden: Callable[[str], None], name: str) -> None:
    """What is decided for each, with 16 and with 32 registers; none is refused for its buffers."""
    subgraph, texts = GRAPHS[name](), []
    for row in ("avx2", "avx512"):
        for schedule in schedules(subgraph, ROWS[row]):
            lower(subgraph, ROWS[row], schedule=schedule)
            steps = pipeline(ROWS[row], schedule)
            lir = run_pipeline(steps, subgraph, until="ChooseSchedule")
            lines = [line for line in print_linear(lir).splitlines() if re.search(CHOSEN, line)]
            texts += [f"# {row}, by {schedule.value}", *lines, ""]
    golden("\n".join(texts))


@pytest.mark.parametrize("name", ["linear", "swiglu", "rms norm and linear"])
@pytest.mark.parametrize(("rows", "tasks"), [(1, 1), (3, 1), (4, 1), (32, 1), (384, 1), (385, 2)])
def test_weights_are_read_once_a_task_of_rows(
    monkeypatch: pytest.MonkeyPatch, name: str, rows: int, tasks: int
) -> None:
    """All the rows of most calls are one task."""
    subgraph, target = FEW[name](), ROWS["avx512"]
    table = serving(subgraph, target)
    schedule = next(row.schedule for row in table if row.schedule and row.suits({"m": rows}))
    lir, read = lower(subgraph, target, schedule=schedule), 0
    weights = {node.name for node in subgraph.parameters if node.type.axes == ("n", "k")}
    own: Any = interpret_linear._OPERATIONS["load"]

    def counted(machine: Any, e: Expression) -> Any:
        nonlocal read
        value = own(machine, e)
        read += value.size if e.inputs[0] in weights else 0
        return value

    monkeypatch.setitem(interpret_linear._OPERATIONS, "load", counted)
    interpret(lir, [t.numpy() for t in tensors(subgraph, {"m": rows})], ())
    assert read == tasks * 48 * 80 * len(weights)


GRAPH_OF = partial(model_graphs.linear, 48, 80)


@pytest.mark.parametrize("row", SMALL)
def test_contractions_are_blocked_or_whole(row: str) -> None:
    """What the text says of a contraction is what is done, and gives the same results."""
    steps = pipeline(SMALL[row], Schedule.OUTPUTS)
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    text = print_linear(run_pipeline(steps[:at], GRAPH_OF()))
    assert "contraction block 8 " in text
    for chosen, blocks in ((text, 1), (text.replace("contraction block 8 ", "contraction "), 0)):
        lir: Any = run_pipeline(steps[at:], parse_linear(chosen))
        verify(lir, final=True)
        assert bool(re.search("for k carries .* step 8 ", print_linear(lir))) == bool(blocks)
        run = kernels.launcher_of(lir, SMALL[row])
        for given in SIZES:
            kernels.assert_right(run, GRAPH_OF(), tensors(GRAPH_OF(), given), [])


PREPARED = [(48, 80, 16), (31, 77, 32), (96, 100, 48)]


@pytest.mark.parametrize(("sizes", "row"), native_in_turn(PREPARED, {**ROWS, **SMALL}))
def test_prepared_weights(sizes: tuple[int, int, int], row: str) -> None:
    """A kernel of the same passes writes the blocks, another reads them where they lie."""
    features, outputs, block = sizes
    target = {**ROWS, **SMALL}[row]
    prepare = lower(model_graphs.prepare(block), target, schedule=Schedule.OUTPUTS)
    made = kernels.launcher_of(prepare, target)
    plain = model_graphs.linear(features, outputs)
    prepared = model_graphs.linear(features, outputs, block=block)
    assert serving(prepared, target) == (Serves(Schedule.OUTPUTS),)
    lir = lower(prepared, target, schedule=Schedule.OUTPUTS)
    assert "read=(place, prepared)" in print_linear(
        run_pipeline(pipeline(target, Schedule.OUTPUTS), prepared, until="ChooseSchedule")
    )
    run = kernels.launcher_of(lir, target)
    for given in SIZES:
        x, w, b = tensors(plain, given)
        in_blocks = torch.as_tensor(made(w.mT.contiguous().mT))
        assert in_blocks.shape == (-(-outputs // block), features, block)
        kernels.assert_right(run, prepared, [x, in_blocks, b], [])
        want = kernels.expected(plain, [x, w, b], [])
        np.testing.assert_allclose(kernels.results(run, [x, in_blocks, b], []), want, atol=1e-5)
        (got,) = interpret(lir, [t.double().numpy() for t in (x, in_blocks, b)], ())
        np.testing.assert_allclose(got, want[0], atol=1e-6)


def test_blocks_of_a_wrong_shape_are_refused() -> None:
    target = select(host_features())
    prepared = model_graphs.linear(48, 80, block=16)
    run = kernels.launcher_of(lower(prepared, target, schedule=Schedule.OUTPUTS), target)
    x, b = torch.zeros(3, 48), torch.zeros(80)
    for shape in ((5, 48, 32), (6, 48, 16), (5, 47, 16), (80, 48)):
        with pytest.raises(InputError):
            run(x, torch.zeros(shape), b)
    apart = torch.zeros(5, 48, 32)[..., ::2]  # is copied
    assert torch.equal(torch.as_tensor(run(x, apart, b)), torch.zeros(3, 80))


def test_blocks_that_loops_do_not_follow_are_named() -> None:
    lir = lower(model_graphs.linear(48, 80, block=16), ROWS["avx2"], schedule=Schedule.OUTPUTS)
    text = print_linear(lir).replace("block n 16", "block n 32")
    with pytest.raises(VerificationError, match="but %w has blocks of 32"):
        verify(parse_linear(text), final=True)
    prepared = model_graphs.linear(48, 80, block=16)
    for schedule in (Schedule.ROWS, Schedule.COLUMNS):
        with pytest.raises(UnsupportedError, match="blocks of an axis that is not in lanes"):
            lower(prepared, ROWS["avx2"], schedule=schedule)


@pytest.mark.parametrize("block", [1, 8, 17])
def test_blocks_are_whole_vectors(block: int) -> None:
    """A vector that went on in the next block would be of another place in memory."""
    prepared = model_graphs.linear(48, 80, block=block)
    with pytest.raises(UnsupportedError, match="no multiple of 16 lanes"):
        lower(prepared, ROWS["avx512"], schedule=Schedule.OUTPUTS)
    lir = lower(model_graphs.linear(48, 80, block=16), ROWS["avx512"], schedule=Schedule.OUTPUTS)
    text = print_linear(lir).replace("block n 16", f"block n {block}")
    with pytest.raises(VerificationError, match=r"no multiple of the lanes|must move"):
        verify(parse_linear(text), final=True)


def test_blocks_do_not_tell_a_size() -> None:
    build = model_graphs.Model("l", m=None, n=None, k=8)
    x, w = build.weight("x", "m", "k"), build.weight("w", "n", "k", block=("n", 16))
    build.result(build.product(x, w, "k"))
    with pytest.raises(InputError, match="2 blocks of 16"):
        interface_of(build.subgraph()).sizes([(3, 8), (2, 8, 16)])


@pytest.mark.parametrize("sizes", [{"n": 0, "j": 3}, {"n": 3, "j": 0}, {"n": 0, "j": 0}])
def test_results_without_an_axis_of_size_0_are_written(sizes: dict[str, int]) -> None:
    build = model_graphs.Model("two", m=None, n=None, j=None, k=None)
    x = build.weight("x", "m", "k")
    for axis in "nj":
        build.result(build.product(x, build.weight(f"w{axis}", axis, "k"), "k"))
    subgraph, target = build.subgraph(), small(select(host_features()))
    for schedule in (Schedule.ROWS, Schedule.OUTPUTS):
        check(subgraph, target, schedule, [{"m": 5, "k": 4, **sizes}])


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_narrow_weights_are_prepared(dtype: str) -> None:
    build = model_graphs.Model("prepare", n=None, k=None)
    w = build.add("parameter", TensorType.of(dtype, "n", "k"), name="w")
    build.add("result", build.type(w), w, order=(0, 1), block=("n", 16))
    target = select(host_features())
    lir = lower(build.subgraph(), target, schedule=Schedule.OUTPUTS)
    verify(lir, final=True)
    given = torch.randn(33, 7).to(torch_type(dtype))
    blocks = torch.as_tensor(kernels.launcher_of(lir, target)(given))
    assert torch.equal(blocks.transpose(1, 2).reshape(48, 7)[:33], given)


@pytest.mark.parametrize("row", SMALL)
def test_another_axis_in_lanes(row: str) -> None:
    """The text says that rows lie in lanes, and x is packed, in place of outputs and w."""
    steps = pipeline(SMALL[row], Schedule.OUTPUTS)
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    text = print_linear(run_pipeline(steps[:at], GRAPH_OF()))
    width, texts = SMALL[row].lanes, []
    edited = text.replace("lanes k n ", "lanes m ").replace("[m n]", "[n m]")
    edited = re.sub("contraction block 8 ", "contraction ", edited)
    edited = re.sub(
        r"axis m : rows task 8 ", f"axis m : rows task {2 * width} panel {width} ", edited
    )
    edited = re.sub(r"(axis n = 80 : )columns task \d+ panel \d+", r"\1columns task 16", edited)
    edited = re.sub(r"read=\(place, \w+\)", "read=(task, place)", edited)
    for chosen in (text, edited):
        parsed = parse_linear(chosen)
        verify(parsed)
        lir: Any = run_pipeline(steps[at:], parsed)
        verify(lir, final=True)
        run = kernels.launcher_of(lir, SMALL[row])
        for given in SIZES:
            kernels.assert_right(run, GRAPH_OF(), tensors(GRAPH_OF(), given), [])
        texts.append(print_linear(lir))
    assert "load %x : f32[k m]" in texts[1]
    assert "load %w : f32[k n]" in texts[0]


@pytest.mark.parametrize("name", ["linear", "mlp", "rms norm and linear", "two segments"])
def test_what_does_not_fit_the_scratchpad_is_halved(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Until it does; what cannot be made small enough is refused, with the size it would need."""
    subgraph, target = FEW[name](), ROWS["portable"]
    for schedule in schedules(subgraph, target):
        whole = scratch_bytes(lower(subgraph, target, schedule=schedule))
        if whole <= 1024:
            continue
        monkeypatch.setattr(allocate_buffers, "SCRATCHPAD_LIMIT", whole // 2)
        lir = lower(subgraph, target, schedule=schedule)
        assert scratch_bytes(lir) <= whole // 2
        run = kernels.launcher_of(lir, target)
        for seed, given in enumerate(SIZES):
            kernels.assert_right(run, subgraph, tensors(subgraph, given, seed), [])
        monkeypatch.undo()
    monkeypatch.setattr(allocate_buffers, "SCRATCHPAD_LIMIT", 16)
    with pytest.raises(UnsupportedError, match="small enough for the scratchpad"):
        lower(FEW["mlp"](), target, schedule=Schedule.OUTPUTS)


OUTER_SCORES = """
subgraph @outer_scores
axis b
axis h
axis m
axis n
axis e = 7
%p0 = parameter : f32[b h][m][]
%p1 = parameter : f32[n][b]
%p2 = parameter : f32[n][b][e]
%0 = mul %p0 %p1 : f32[b][h][m][n]
%1 = reduce %0 {monoid=larger, over=(n)} : f32[b][h][m]
%2 = sub %0 %1 : f32[b][h][m][n]
%3 = exp %2 : f32[b][h][m][n]
%4 = brgemm %3 %p2 {over=(n)} : f32[b][h][m][e]
%6 = reduce %3 {monoid=sum, over=(n)} : f32[b][h][m]
%7 = div %4 %6 : f32[b][h][m][e]
%r0 = result %7 {order=(0, 1, 2)} : f32[b h][m][e]
"""
"""Scores of one feature a head: of what a task holds so much is kept that its blocks are halved."""


@pytest.mark.parametrize("row", ["avx2", "avx512"])
def test_blocks_that_are_halved_are_whole_tiles(row: str) -> None:
    """Tiles of two vectors in a block of three would write beyond its buffers."""
    lir = lower(parse_subgraph(OUTER_SCORES), ROWS[row], schedule=Schedule.OUTPUTS)
    loops = [(s, around) for s, around in lir.walk() if isinstance(s, Loop) and not s.parallel]
    inside = [
        (loop.step, outer.step)
        for loop, around in loops
        for outer in around
        if outer.axis == loop.axis and not outer.parallel
    ]
    assert inside
    assert all(block % tile == 0 for tile, block in inside)


@pytest.mark.parametrize(("size", "most"), [(64, 12), (1024, 12), (1040, 11), (1536, 8), (3072, 8)])
def test_rows_that_a_near_cache_keeps_go_by_columns(size: int, most: int) -> None:
    few, some, rest = serving(model_graphs.linear(size, 80), ROWS["avx512"])
    assert few == Serves(Schedule.COLUMNS, ("m",), most)
    assert (some.schedule, rest.schedule) == (Schedule.ROWS, Schedule.OUTPUTS)


def test_more_rows_leave_accumulators_for_fewer_of_a_weight() -> None:
    lir = lower(model_graphs.linear(272, 80), ROWS["avx512"], schedule=Schedule.COLUMNS)
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop) and s.kind == "for"]
    panel = next(loop for loop in loops if loop.axis == "m")
    tiles = {piece.step: next(s for s in piece.body if isinstance(s, Loop)).step
             for piece in panel.pieces}  # fmt: skip
    assert tiles == {rows: 3 if rows <= 8 else 2 for rows in range(12, 0, -1)}
