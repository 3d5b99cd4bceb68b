"""Fixtures of all tests: ``golden`` compares with a file that ``--update-golden`` rewrites."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

# Pipelines are verified after each pass by tests of their own.
os.environ.setdefault("SNIPJIT_VERIFY", "final")
os.environ["SNIPJIT_CACHE"] = "0"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: the pools of several workers would spin against one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.addoption
    add("--update-golden", action="store_true", help="write golden files instead of comparing")
    few = "calls of so many rows go by columns, on every target row"
    add("--few-rows", type=int, metavar="N", help=few)
    add("--host", metavar="ROW", help="a host that runs this target row and no better one")


def pytest_configure(config: pytest.Config) -> None:
    """Change the rows and the host before a test module reads them."""
    config.addinivalue_line("markers", "target(name): every test of a module is of a target row")
    from snipjit.ir.schedule import Schedule
    from snipjit.target.candidates import TUNED, candidate
    from snipjit.target.target_machine import TARGETS

    if (few := config.getoption("--few-rows")) is not None:
        for row in TARGETS:
            usual = candidate(row, Schedule.COLUMNS)
            TUNED[row.name, Schedule.COLUMNS] = replace(usual, most_rows=few)
    if name := config.getoption("--host"):
        _pretend_host(name)


def _pretend_host(name: str) -> None:
    from llvmlite import binding

    from snipjit.runtime import engine
    from snipjit.target.target_machine import TARGETS

    row = next(row for row in TARGETS if row.name == name)
    missing = set(row.features) - engine.host_features()
    if missing:
        raise pytest.UsageError(f"--host {name}: this machine lacks {', '.join(sorted(missing))}")
    binding.get_host_cpu_features = lambda: dict.fromkeys(row.features, True)
    engine.host_features.cache_clear()


@pytest.fixture(autouse=True)
def attention_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests count kernels of attention: without options nothing else is fused in them."""
    if request.node.get_closest_marker("all_patterns") is None:
        from snipjit.frontend.options import Options

        wanted: Any = Options.patterns

        def patterns(options: Options) -> Any:
            found, is_all = wanted.fget(options), options.fuse is None
            others = ("linear", "normalization", "elementwise") if is_all else ()
            return tuple(one for one in found if one.name not in others)

        monkeypatch.setattr(Options, "patterns", property(patterns))


# How many tests of each target row ran on the host itself, ran emulated, were skipped.

OUTCOMES = ("native", "emulated", "skipped")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note what target row a test is of, before anything skips it."""
    if (found := _target_of(item)) is not None:
        item.user_properties.append(("target", found))
    return (yield)


def _target_of(item: pytest.Item) -> tuple[str, str] | None:
    """The row among a test's parameters or in its module's mark, and how it runs."""
    from tests.kernels import ROWS, is_native

    marks = [str(mark.args[0]) for mark in item.iter_markers("target")]
    call = getattr(item, "callspec", None)
    for value in (*(call.params.values() if call else ()), *marks):
        name = getattr(value, "name", value)
        row = ROWS.get(str(name).removeprefix("small ").removesuffix(" columns"))
        if row is not None:
            return row.name, "native" if is_native(row) else "emulated"
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each target row."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, (target, how) in getattr(report, "user_properties", ()):
                if name == "target":
                    counts[target, "skipped" if outcome == "skipped" else how] += 1
    if counts:
        terminalreporter.section("tests by target row")
    for target in dict.fromkeys(target for target, _ in counts):
        told = ", ".join(f"{counts[target, how]} {how}" for how in OUTCOMES)
        terminalreporter.write_line(f"{target:13} {told}")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Kernels run on two threads, which a worker of pytest-xdist does not do by itself."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is compiled has small tiles, which takes a fraction of the time."""
    from snipjit.target import target_machine
    from tests.kernels import SMALL

    # Their names are others: kernels with small tiles must not serve later tests.
    monkeypatch.setattr(target_machine, "TARGETS", tuple(SMALL.values()))
    monkeypatch.delenv("SNIPJIT_TARGET", raising=False)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compare a text with ``tests/golden/<path of the test file>/<name of the test>.txt``."""
    file = Path(request.path).relative_to(TESTS).with_suffix("")
    name = re.sub(r"[^\w.-]+", "_", request.node.name).strip("_")
    path = TESTS / "golden" / file / f"{name}.txt"

    def check(text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no {path.name}: run pytest --update-golden, review the diff"
        assert text == path.read_text()

    return check


@pytest.fixture
def fresh(small_tiles: None) -> Iterator[None]:
    """Nothing traced or counted before, and seeded numbers."""
    import torch

    import snipjit

    torch._dynamo.reset()
    snipjit.reset_stats()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


@pytest.fixture
def anew() -> Iterator[None]:
    """Nothing compiled or counted before and nothing compiled left, without gradients."""
    import torch

    import snipjit

    torch.compiler.reset()
    snipjit.reset_stats()
    with torch.no_grad():
        yield
    torch.compiler.reset()


@pytest.fixture
def mesh() -> Iterator[Any]:
    """A device mesh of one process."""
    distributed: Any = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch is built without torch.distributed")
    from torch.distributed.device_mesh import init_device_mesh

    store = distributed.HashStore()
    distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()
