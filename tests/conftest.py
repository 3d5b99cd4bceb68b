"""Fixtures of all tests: ``golden`` compares with a file that ``--update-golden`` rewrites."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

os.environ.setdefault("SNIPJIT_VERIFY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )


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
