"""Models compiled whole, layer by layer, without graph breaks, and as exported programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import snipjit

pytest.importorskip("transformers")

from tests.models import named
from tests.test_models import assert_equal

pytestmark = pytest.mark.models


@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        ("Bert", "eager"),
        ("Bert", "sdpa"),
        ("Llama", "eager"),
        ("Mistral", "sdpa"),
        ("ViT", "sdpa"),
        ("Detr", "eager"),
        ("Whisper", "sdpa"),
    ],
)
def test_exported(name: str, implementation: str, tmp_path: Path) -> None:
    """A program compiled from the module, and the same from its file, at three sizes."""
    case = named(name)
    model = case.model(implementation)
    snipjit.reset_stats()
    program = snipjit.compile(model, (), case.inputs(*case.sizes[0]))
    assert snipjit.stats().subgraphs == case.fused, snipjit.stats().refusals
    torch.export.save(program.exported, tmp_path / "model.pt2")
    loaded = snipjit.compile(tmp_path / "model.pt2")
    kernels = 0
    for size in case.sizes:
        with torch.inference_mode():
            expected = model(**case.inputs(*size))
        for run in (program, loaded):
            assert_equal(run(**case.inputs(*size)), expected)
        kernels = kernels or snipjit.stats().kernels_compiled
    # By rows, and by columns for few of them.
    assert kernels <= snipjit.stats().kernels_compiled <= 2 * kernels


def _layers(model: Any) -> Any:
    parts = getattr(model, "encoder", model)
    return getattr(parts, "layer", getattr(parts, "layers", None))


@pytest.mark.parametrize("name", ["Bert", "Llama", "ViT"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_layer_by_layer(name: str, implementation: str) -> None:
    """Each layer compiled for itself: equal layers share a graph, and one kernel serves all."""
    case = named(name)
    model = case.model(implementation)
    expected = []
    with torch.inference_mode():
        for size in case.sizes:
            expected.append(model(**case.inputs(*size)))
        torch._dynamo.reset()
        snipjit.reset_stats()
        layers = _layers(model)
        for layer in layers:
            layer.compile(backend="snipjit", dynamic=True, fullgraph=True)
        compiled = []
        for size, result in zip(case.sizes, expected, strict=True):
            assert_equal(model(**case.inputs(*size)), result)
            compiled.append(snipjit.stats().kernels_compiled)
    stats = snipjit.stats()
    assert not stats.refusals
    assert 1 <= stats.subgraphs <= len(layers)
    assert stats.kernel_calls == len(layers) * len(case.sizes)
    assert compiled[0] <= compiled[-1] <= 2 * compiled[0]  # by rows, and by columns for few


@pytest.mark.parametrize("name", ["Bert", "Gemma2", "Bart"])
def test_without_graph_breaks(name: str) -> None:
    case = named(name)
    model = case.model("eager")
    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(model, backend="snipjit", dynamic=True, fullgraph=True)
    inputs = case.inputs(*case.sizes[0])
    with torch.inference_mode():
        assert_equal(compiled(**inputs), model(**inputs))
    assert snipjit.stats().subgraphs == case.fused
