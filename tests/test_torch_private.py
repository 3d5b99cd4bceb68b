"""Private names of torch stand in one module, and a version without one of them is served."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from snipjit import torch_private

PACKAGE = Path(torch_private.__file__).parent.parent
PRIVATE = re.compile(
    r"torch(\.\w+)*\._(?!_version__)\w+|_pytree|symbolic_shapes|\._schema\b|\._cdata\b|\._inductor"
    r"|\bsize\.node\b|\.node\.(expr|hint|maybe_as_int|has_hint)\b|forward_ad\._"
)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_private_names_have_one_home(path: Path) -> None:
    if path.parent.name == "torch_private":
        return
    code = re.sub(r'"""[\s\S]*?"""|#.*|"[^"\n]*"', "", path.read_text())
    assert not PRIVATE.search(code), PRIVATE.search(code)


def test_a_name_that_is_gone_has_a_fallback() -> None:
    assert torch_private.names.named("_C._nothing.at_all", "fallback") == "fallback"
    assert torch_private.names.named("ops.aten.no_such_operation.default") is None
    shape, strides = (2, 3), (1, 2)
    made = torch_private.calls._empty_strided(shape, strides, torch.float32)
    assert (made.shape, made.stride()) == (shape, strides)


@pytest.mark.parametrize(
    ("version", "warned"),
    [("2.13.0+cpu", 0), ("2.15.9", 0), ("2.16.0", 1), ("3.0.0a0", 1), ("git", 0)],
)
def test_a_newer_torch_is_said_once(
    version: str, warned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    torch_private.check_version.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch_private.check_version()
        torch_private.check_version()
    assert len(caught) == warned
    torch_private.check_version.cache_clear()


def test_the_range_is_that_of_the_package() -> None:
    text = (PACKAGE.parent / "setup.py").read_text()
    (lowest, above) = re.search(r"torch>=2\.(\d+),<2\.(\d+)", text).groups()  # type: ignore[union-attr]
    assert torch_private.LOWEST == (2, int(lowest))
    assert torch_private.HIGHEST == (2, int(above) - 1)


@pytest.mark.parametrize("attribute", ["mT", "T"])
def test_attributes_that_newer_versions_write_as_operations(attribute: str) -> None:
    """Whatever a version makes of ``x.mT`` and, of two dims, ``x.T``."""
    import snipjit

    def attend(q: Any, k: Any, v: Any) -> Any:
        return (q @ getattr(k, attribute)).softmax(-1) @ v

    shape = (2, 3, 9, 16) if attribute == "mT" else (9, 16)
    q, k, v = torch.randn(3, *shape)
    with torch.inference_mode():
        report = snipjit.explain(attend, q, k, v)
    assert len(report.subgraphs) == 1
    assert "matmul %" in report.subgraphs[0].tokenized
    assert len(report.subgraphs[0].nodes) == 4
