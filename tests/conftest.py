"""Fixtures of all tests: ``golden`` compares with a file that ``--update-golden`` rewrites."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

os.environ.setdefault("SNIPJIT_VERIFY", "1")
os.environ["SNIPJIT_CACHE"] = "0"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: the pools of several workers would spin against one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )


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
    from snipjit import target_machine
    from tests.small_rows import SMALL

    # Other names: kernels with small tiles must not serve later tests.
    rows = tuple(replace(row, name=f"small {row.name}") for row in SMALL.values())
    monkeypatch.setattr(target_machine, "TARGETS", rows)
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
