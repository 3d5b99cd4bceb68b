"""Tests of ``snipjit/runtime/launcher.py``, with a hand-written kernel ``o = x * s + y``."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snipjit.errors import InputError
from snipjit.runtime import plans
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from tests.guard import SIDES, Side, guarded, guarded_empty, guarded_scratch
from tests.runtime.workers import scale_add_structure


@pytest.fixture
def launcher() -> Launcher:
    torch.manual_seed(0)
    return Launcher(scale_add_structure())


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores the number of threads afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def check(launcher: Launcher, x: torch.Tensor, y: torch.Tensor, s: float = 0.5) -> None:
    result = launcher(x, y, s)
    assert isinstance(result, torch.Tensor)
    torch.testing.assert_close(result, x * s + y, rtol=0, atol=0)


def test_strides_and_broadcasts(launcher: Launcher) -> None:
    x, y = torch.randn(2, 31, 40), torch.randn(2, 31, 40)
    check(launcher, x, y)
    check(launcher, torch.randn(31, 2, 40).transpose(0, 1), y)
    check(launcher, torch.randn(2, 40, 31).transpose(1, 2), y)
    check(launcher, torch.randn(2, 31, 80)[:, :, ::2], y)
    check(launcher, torch.randn(4, 50, 60)[1:3, 7:38, 5:45], y)
    check(launcher, x, y[:1, :1].expand(2, 31, 40))
    check(launcher, x, y[:, :1])
    check(launcher, x, y[:, :, :1])
    check(launcher, x[:, :, :1], y)
    check(launcher, x, y[:1, :1, :1].expand(2, 31, 40))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1), (5, 1, 1)])
def test_empty_and_single_dims(launcher: Launcher, shape: tuple[int, int, int]) -> None:
    check(launcher, torch.randn(shape), torch.randn(shape))


def test_scalars_may_be_tensors_or_whole_numbers(launcher: Launcher) -> None:
    x = torch.randn(1, 2, 3)
    for scalar in (2, 2.0, torch.tensor(2.0), torch.tensor([2.0]), torch.tensor([[2]])):
        assert torch.equal(torch.as_tensor(launcher(x, x, scalar)), x * 3)


def test_the_output_has_the_recipes_order() -> None:
    x = torch.randn(2, 31, 40)
    result = Launcher(scale_add_structure((1, 0, 2)))(x, x, 0.5)
    assert isinstance(result, torch.Tensor)
    assert result.stride() == (40, 80, 1)
    torch.testing.assert_close(result, x * 1.5)


def test_grad_is_ignored(launcher: Launcher) -> None:
    x = torch.randn(2, 31, 40, requires_grad=True)
    parameter = torch.nn.Parameter(torch.randn(2, 40, 31))
    result = launcher(x, parameter.transpose(1, 2), 0.5)
    assert isinstance(result, torch.Tensor)
    assert not result.requires_grad
    with torch.inference_mode():
        check(launcher, torch.randn(2, 3, 4), torch.randn(2, 3, 4))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.zeros(1, 2, 3),), "1 arguments: pass 2 tensors and 1 scalars"),
        ((torch.zeros(1, 2, 3), 3, 4), "input 'y' is a int: pass a tensor"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 3, dtype=torch.float64), 4.0), "convert it"),
        ((torch.zeros(1, 2, 3, device="meta"), torch.zeros(1, 2, 3), 4.0), "move it to the CPU"),
        ((torch.zeros(2, 3), torch.zeros(1, 2, 3), 4.0), "'x' has rank 2"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), 4.0), "dim 2 of tensor 'y' has size 4"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), "4"), "s='4': pass floats"),
        ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(2)), "of one element"),
    ],
)
def test_what_does_not_fit_is_refused(
    launcher: Launcher, args: tuple[object, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        launcher(*args)
    assert launcher.calls == 0


def test_a_seen_shape_is_configured_once(launcher: Launcher) -> None:
    for _ in range(3):
        for m in (3, 4):
            check(launcher, torch.randn(2, m, 5), torch.randn(2, m, 5))
    assert (launcher.calls, launcher.configurations) == (6, 2)


def test_what_is_remembered_is_bounded(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SHAPES_KEPT", 4)
    for m in [*range(20), 19, 18, 17]:
        check(launcher, torch.randn(1, m, 2), torch.randn(1, m, 2))
    assert launcher.configurations == 20
    assert launcher.plans_kept <= 8


def test_an_output_may_have_the_layout_of_an_input() -> None:
    """The two are shared, and of an input a plan is given its torch.Size."""
    x = torch.randn(11, 13, 17)
    for _ in range(2):
        for _ in range(2):
            check(Launcher(scale_add_structure()), x, x)
        x = x[:, :, :9].contiguous()


def test_what_is_remembered_is_small(launcher: Launcher) -> None:
    """Frames and equal layouts are shared among shapes, and what configuring made is not kept."""
    y = torch.randn(1, 1, 300)

    def call(lengths: range) -> int:
        for m in lengths:
            launcher(torch.empty(1, m, 300), y, 0.5)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = call(range(300, 350))
        assert call(range(350, 650)) - before < 300 * 1500
    finally:
        tracemalloc.stop()
    assert launcher.configurations == 350


def test_the_same_bits_for_every_number_of_threads(launcher: Launcher, threads: None) -> None:
    x, y = torch.randn(7, 100, 33), torch.randn(7, 100, 33)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(torch.as_tensor(launcher(x, y, 0.3)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_many_python_threads_at_once(launcher: Launcher) -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        try:
            for i in range(60):
                shape = (1 + seed % 3, 1 + (i * 7) % 40, 16)
                x = torch.randn(shape, generator=generator)
                check(launcher, x, torch.randn(shape, generator=generator), float(seed))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert launcher.calls == 8 * 60


def test_a_forked_child_computes(launcher: Launcher) -> None:
    x = torch.randn(8, 64, 512)
    y = torch.randn(8, 512, 64).transpose(1, 2)
    expected = torch.as_tensor(launcher(x, y, 0.5)).numpy()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            result = torch.as_tensor(launcher(x, y, 0.5)).numpy()
            code = 0 if (result == expected).all() else 2
        finally:
            os._exit(code)
    assert exit_code(child) == 0


def exit_code(child: int, seconds: float = 60) -> int:
    """The exit code of a child; one that hangs is killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"the child did not end within {seconds} s")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_layout_between_guard_pages(data: st.DataObject) -> None:
    """Random sizes, broadcasts, memory orders and steps; no byte outside a tensor is touched."""
    sizes = [data.draw(st.integers(0, 9)) for _ in range(3)]
    side: Side = data.draw(st.sampled_from(SIDES))
    launcher = Launcher(
        scale_add_structure(), Scratchpads(guarded_scratch(side)), guarded_empty(side)
    )

    def tensor() -> torch.Tensor:
        shape = [data.draw(st.sampled_from([size, 1])) for size in sizes]
        order = data.draw(st.permutations([0, 1, 2]))
        steps = [data.draw(st.integers(1, 2)) for _ in shape]
        whole = torch.rand([shape[i] * steps[i] for i in order]).permute(
            [order.index(i) for i in range(3)]
        )
        view = whole[:: steps[0], :: steps[1], :: steps[2]]
        return view.expand(sizes) if data.draw(st.booleans()) else view

    x, y = tensor(), tensor()
    result = launcher(guarded(x, side), guarded(y, side), 0.5)
    torch.testing.assert_close(result, x * 0.5 + y, rtol=0, atol=0)
