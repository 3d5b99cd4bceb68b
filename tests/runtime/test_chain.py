"""Tests of chains at run time: many launches of ``o = x * s + y`` and views as one call."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from snipjit.compiler import compile_subgraph
from snipjit.errors import InputError
from snipjit.ir.call_args import CACHE_LINE, FIXED
from snipjit.passes.fx import chain_launches, is_state, note_state
from snipjit.runtime import plans
from snipjit.runtime.arena import ARENAS
from snipjit.runtime.chain import Chain
from snipjit.runtime.chain_driver import SLOT
from snipjit.runtime.chain_plans import BY_MEMBERS
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.repeated import OFTEN
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.torch_private import empty_strided, forward_ad
from tests.guard import SIDES, Side, guarded, guarded_empty, guarded_scratch
from tests.runtime.workers import scale_add_structure
from tests.subgraphs import mean_variance


class Traced(fx.Interpreter):
    """Notes what nodes are, as tracing does."""

    def run_node(self, n: fx.Node) -> Any:
        n.meta["example_value"] = found = super().run_node(n)
        return found


class Built:
    """A graph of launches, before and after they were chained.

    ``made`` are the chains, ``launcher`` and ``swapped`` the launchers, of which the second lays
    its result out as [m][b][n].
    """

    def __init__(
        self,
        write: Callable[[Built], Any],
        inputs: int = 2,
        weights: Sequence[int] = (),
        traced: Sequence[Tensor] = (),
        **chain: Any,
    ) -> None:
        self.graph = fx.Graph()
        self.inputs = [self.graph.placeholder(f"x{i}") for i in range(inputs)]
        note_state(self.inputs[i] for i in weights)
        self.launcher, self.swapped = (
            Launcher(scale_add_structure(order)) for order in ((0, 1, 2), (1, 0, 2))
        )
        self.known = [self.launcher, self.swapped]
        self.made: list[Chain] = []
        self.graph.output(write(self))
        self.before = fx.GraphModule(torch.nn.Module(), self.graph)
        if traced:
            Traced(self.before).run(*traced)
        self.after = fx.GraphModule(torch.nn.Module(), _copy(self.graph))

        def join(body: fx.Graph) -> Callable[..., Any]:
            self.made.append(Chain(body, self.launcher_of, is_state, **chain))
            return self.made[-1].call

        chain_launches(self.after, self.results, join)

    def launcher_of(self, node: fx.Node) -> Launcher | None:
        found = [launcher for launcher in self.known if launcher.call is node.target]
        return found[0] if found else None

    def results(self, node: fx.Node) -> int:
        launcher = self.launcher_of(node)
        return 0 if launcher is None else len(launcher.structure.interface.outputs)

    def launch(self, x: fx.Node, y: fx.Node, s: Any = 0.5, swapped: bool = False) -> fx.Node:
        launcher = self.swapped if swapped else self.launcher
        return self.graph.call_function(launcher.call, (x, y, s))

    def method(self, name: str, *args: Any) -> fx.Node:
        return self.graph.call_method(name, args)

    def check(self, *inputs: Any) -> None:
        """The same bits as without chains."""
        wanted, result = self.before(*inputs), self.after(*inputs)
        for one, two in zip(wanted, result, strict=True):
            assert torch.equal(one, two)
            assert one.stride() == two.stride()

    @property
    def in_one(self) -> bool:
        """Whether all plans are of one call."""
        kept = [plan for chain in self.made for plan in chain._plans.recent.values()]
        return bool(kept) and BY_MEMBERS not in kept


def _copy(graph: fx.Graph) -> fx.Graph:
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy


def row(built: Built) -> tuple[fx.Node, ...]:
    """Three launches one after another, with views between them."""
    x, y = built.inputs
    first = built.launch(x, y, 0.25)
    second = built.launch(first, built.method("transpose", first, 0, 0), -1.5, swapped=True)
    return (built.launch(second, x, 3.0),)


def beside(built: Built) -> tuple[fx.Node, ...]:
    """Two launches that read one, then one that reads both, and one of a view of what it reads."""
    x, y = built.inputs
    first = built.launch(x, y, 0.25)
    one, two = built.launch(first, y, -1.5, swapped=True), built.launch(first, x, 2.0)
    three = built.launch(built.method("transpose", one, 0, 0), two)
    return (built.launch(three, one), built.launch(two, y))


def inputs(m: int = 31, b: int = 2, n: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(m)
    x, y = torch.randn(2, b, m, n, generator=generator)
    return x, y


def test_sizes_that_change() -> None:
    built = Built(row)
    (chain,) = built.made
    for m in (31, 1, 7, 300, 31, 2, 7):
        built.check(*inputs(m))
    assert built.in_one
    assert chain.planner.colouring is not None
    assert chain.planner.colouring.count == 2


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1), (5, 1, 1)])
def test_empty_and_single_dims(shape: tuple[int, int, int]) -> None:
    built = Built(row)
    for _ in range(2):
        built.check(torch.randn(shape), torch.randn(shape))


WEIGHTS = [(), (0,), (1,), (0, 1)]


@pytest.mark.parametrize("seed", range(60))
def test_graphs_at_random(seed: int) -> None:
    draw = random.Random(seed)
    built = Built(lambda built: _drawn(built, draw), weights=WEIGHTS[seed % len(WEIGHTS)])
    for m in (6, 2, *6 * [6], 10):
        built.check(*inputs(m, 2, 6))


def _drawn(built: Built, draw: random.Random) -> tuple[fx.Node, ...]:
    """Launches, views and operations of tensors [b][m][n]."""
    values = list(built.inputs)
    for _ in range(draw.randint(3, 16)):
        x, y = draw.choice(values[-4:]), draw.choice(values)
        kind = draw.choice(["launch"] * 5 + ["view"] * 4 + ["add", "write"])
        if kind == "launch":
            scale = draw.choice([0.5, 0.5, -0.0, 0.0, 2.0])
            values.append(built.launch(x, y, scale, draw.random() < 0.3))
        elif kind == "view":
            values.append(_view(built, draw, x))
        elif kind == "add":
            values.append(built.method("add", x, 1.0))
        else:  # into memory that views and results share
            values.append(built.method("mul_", built.method("clone", x), 0.5))
            own = [v for v in values if built.launcher_of(v) is not None]
            values += [built.method("add_", v, 0.25) for v in own[-1:]]
    return tuple(draw.sample(values, min(len(values), draw.randint(1, 5))))


def _view(built: Built, draw: random.Random, x: fx.Node) -> fx.Node:
    """A view of the same shape, or one that broadcasts to it."""
    kind = draw.randrange(5)
    if kind == 0:
        return built.method("transpose", built.method("transpose", x, 0, 1), 0, 1)
    if kind == 1:
        flat = built.method("reshape", x, 2, -1, 2)
        return built.method("reshape", flat, 2, -1, 6)
    if kind == 2:
        halves = built.method("chunk", built.method("repeat", x, 1, 2, 1), 2, 1)
        return built.graph.call_function(getitem, (halves, draw.randrange(2)))
    if kind == 3:
        part = built.graph.call_function(getitem, (x, (slice(None), slice(1, 2))))
        return built.method("expand_as", part, x)
    return built.method("contiguous", x)


def test_phases() -> None:
    """Launches of which none reads another do not wait, and each has memory of its own."""
    built = Built(beside)
    (chain,) = built.made
    assert chain.script.phases == [0, 1, 1, 2, 3, 3]
    assert chain.script.beside == [0, 0, 1, 0, 0, 1]
    for m in (31, 1, 300, 31):
        built.check(*inputs(m))
    assert chain.planner.colouring is not None
    assert chain.planner.colouring.count == 3
    one, two = (_scratchpads(chain)[launch] for launch in (1, 2))
    assert two - one >= CACHE_LINE
    assert built.in_one


def _scratchpads(chain: Chain) -> list[int]:
    """Where the scratchpads of all launches were in the last call."""
    (frames,) = chain.planner._frames.values()
    program = frames[-1][0]
    kernels = (ctypes.c_int64 * len(chain.script.members)).from_address(program[SLOT["kernels"]])
    place = 8 * FIXED.index("scratch")
    return [ctypes.c_int64.from_address(kernel + place).value for kernel in kernels]


def test_results_are_the_callers_own() -> None:
    built = Built(row)
    kept = [built.after(*inputs(m))[0] for m in (31, 31, 7, 31)]
    for m, result in zip((31, 31, 7, 31), kept, strict=True):
        assert torch.equal(result, built.before(*inputs(m))[0])
    kept[0].zero_()
    assert torch.equal(kept[1], built.before(*inputs(31))[0])


def test_one_memory_serves_calls_in_turn() -> None:
    taken: list[int] = []

    class Noted(Scratchpads):
        def take(self, size: int) -> Any:
            block = super().take(size)
            taken.append(block.address)
            return block

    built = Built(row, arenas=Noted())
    for _ in range(4):
        built.check(*inputs())
    assert len({*taken}) == 1


def test_a_call_inside_a_call() -> None:
    """As from a signal handler, or from what allocates results."""
    depth = 0

    def empty(*args: Any) -> Tensor:
        nonlocal depth
        depth += 1
        if depth % 3:
            assert torch.equal(built.after(*inputs(9))[0], built.before(*inputs(9))[0])
        result: Tensor = empty_strided(*args)
        return result

    built = Built(row, empty=empty)
    for m in (31, 7, 31):
        built.check(*inputs(m))


def test_many_python_threads_at_once() -> None:
    built = Built(row)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(40):
                built.check(*inputs(1 + (seed * 40 + i * 7) % 50))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors


@pytest.mark.parametrize("write", [row, beside])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_number_of_threads(threads: int, write: Callable[[Built], Any]) -> None:
    before = torch.get_num_threads()
    built = Built(write)
    wanted = built.before(*inputs(300, 7))[0]
    torch.set_num_threads(threads)
    try:
        assert torch.equal(built.after(*inputs(300, 7))[0], wanted)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("write", [row, beside])
@pytest.mark.parametrize("side", SIDES)
def test_nothing_outside_is_touched(side: Side, write: Callable[[Built], Any]) -> None:
    memory = Scratchpads(guarded_scratch(side))
    built = Built(write, arenas=memory, scratchpads=memory, empty=guarded_empty(side))
    for m in (31, 1, 8):
        built.check(*(guarded(x, side) for x in inputs(m)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.zeros(1, 2, 3), 3), "input 'y' is a int: pass a tensor"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 3, dtype=torch.float64)), "convert it"),
        ((torch.zeros(1, 2, 3, device="meta"), torch.zeros(1, 2, 3)), "move it to the CPU"),
        ((torch.zeros(2, 3), torch.zeros(1, 2, 3)), "'x' has rank 2"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)), "dim 2 of tensor 'y' has size 4"),
    ],
)
def test_what_does_not_fit_is_refused(args: tuple[object, ...], message: str) -> None:
    built = Built(row)
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            built.after(*args)
    assert built.launcher.calls == 0


def test_scalars_of_the_call() -> None:
    def scaled(built: Built) -> tuple[fx.Node, ...]:
        x, y, s = built.inputs
        return (built.launch(built.launch(x, y, s), y, s),)

    built = Built(scaled, inputs=3)
    for s in (2, 0.5, torch.tensor(3.0), torch.tensor([[2]])):
        built.check(*inputs(), s)
    assert built.in_one
    for wrong in ("4", torch.zeros(2)):
        with pytest.raises(InputError, match="floats"):
            built.after(*inputs(), wrong)


def test_views_are_told_sizes() -> None:
    def parts(built: Built) -> tuple[fx.Node, ...]:
        x, y, size = built.inputs
        size.meta["example_value"] = 7
        made = built.launch(x, y)
        part = built.method("narrow", made, 1, 0, size)
        return (built.launch(part, part, 2.0),)

    built = Built(parts, inputs=3)
    for size in (7, 3, 7, 1, 31, 0):
        built.check(*inputs(), size)
    assert built.in_one


def test_offsets_of_views() -> None:
    def parts(built: Built) -> tuple[fx.Node, ...]:
        made = built.launch(built.inputs[0], built.inputs[1])
        halves = built.method("chunk", made, 2, 1)
        one, two = (built.graph.call_function(getitem, (halves, i)) for i in (0, 1))
        return (built.launch(two, one), two)

    built = Built(parts)
    for m in (8, 2, 30):
        built.check(*inputs(m))
    built.check(*(x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs(8)))


def test_inputs_that_are_copied() -> None:
    """Launches run one by one."""
    built = Built(row)
    x, y = inputs()
    built.check(x.mT.contiguous().mT, y)
    assert not built.in_one
    built.check(x, y)
    assert any(plan is not BY_MEMBERS for plan in built.made[0]._plans.recent.values())


@pytest.mark.parametrize("private", [True, False])
def test_weights_of_other_layouts(private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that share a graph hand over weights of their own, in either mode."""
    if not private:
        monkeypatch.delattr(torch._C._dynamo.guards, "TensorGuards")
    built = Built(row, weights=(1,))
    for mode in (torch.no_grad, torch.inference_mode, torch.no_grad):
        for m, b in (31, 2), (31, 1), (1, 1), (7, 3), (0, 2), (31, 2):
            x, y = inputs(m, b)
            laid_out = y, y.transpose(0, 1).contiguous().transpose(0, 1), y[:1].expand_as(y)
            with mode():
                for weight in (*laid_out, torch.nn.Parameter(y), *laid_out):
                    for _ in range(OFTEN + 2):
                        built.check(x, weight)
    assert built.in_one


def test_inputs_change_beside_weights() -> None:
    """A call knows that its weights are as before, whatever else it is given."""
    built = Built(row, weights=(1,))
    y = inputs()[1]
    for _ in range(OFTEN + 2):
        built.check(inputs()[0], y)
    is_same, layouts = built.made[0]._repeated.last[0]
    assert is_same(y)
    assert layouts.parts == (y.shape, y.stride())
    built.check(inputs()[0].transpose(0, 1).contiguous().transpose(0, 1), y)
    for wrong in (torch.zeros(31, 2, 40), torch.zeros(2, 31, 40, dtype=torch.float64), None):
        with pytest.raises(InputError):
            built.after(wrong, y)
        with pytest.raises(InputError):
            built.after(inputs()[0], wrong)
    built.check(*inputs())


def test_several_results() -> None:
    launcher = Launcher(compile_subgraph(mean_variance()))

    def statistics(built: Built) -> tuple[fx.Node, ...]:
        built.known.append(launcher)
        x, y = built.inputs
        pair = built.graph.call_function(launcher.call, (built.launch(x, y), 40.0))
        mean, variance = (built.graph.call_function(getitem, (pair, i)) for i in (0, 1))
        return (variance, built.launch(built.launch(x, y), y), mean)

    built = Built(statistics)
    for m in (31, 3, 31):
        built.check(*inputs(m))


def test_calls_are_counted_for_each_launcher() -> None:
    built = Built(row)
    for _ in range(3):
        built.after(*inputs())
    assert (built.launcher.calls, built.swapped.calls) == (6, 3)
    assert (built.launcher.configurations, built.swapped.configurations) == (2, 1)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SHAPES_KEPT", 4)
    built = Built(row)
    for m in (*range(20), 19, 3, 19):
        built.check(*inputs(m))
    assert len(built.made[0]._plans) <= 8


def test_the_arena_is_kept_for_the_next_call() -> None:
    built = Built(row)
    built.check(*inputs())
    kept = ARENAS.kept_bytes()
    assert kept >= 2 * 31 * 40 * 4
    built.check(*inputs())
    assert ARENAS.kept_bytes() == kept


def test_tangents_are_refused() -> None:
    built = Built(row)
    x, y = inputs()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, y)
        with pytest.raises(InputError, match="tangent"):
            built.after(dual, y)


def test_a_phase_has_a_few_launches() -> None:
    """Each has a scratchpad of its own."""

    def write(built: Built) -> Any:
        x, y = built.inputs
        return tuple(built.launch(x, y, 0.5 * number) for number in range(9))

    built = Built(write)
    (chain,) = built.made
    assert chain.script.phases == [0] * 4 + [1] * 4 + [2]
    built.check(*inputs())


def test_layouts_of_many_models_are_kept_apart() -> None:
    """Those that others bring do not drive out a chain's own."""
    chains = [Built(row, weights=(1,)).made[0] for _ in range(2)]
    first = chains[0].planner.layouts_of([torch.zeros(3)])
    for size in range(99):
        chains[1].planner.layouts_of([torch.zeros(size)])
    assert chains[0].planner.layouts_of([torch.zeros(3)]) is first
