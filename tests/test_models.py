"""Models of transformers and diffusers: equal to eager, every attention counted, one compilation.

A few run with ``make test``; all others carry the marker ``models`` and run with
``make test-models``.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

import snipjit

pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from tests.models import CASES
from tests.models.case import Case
from tests.models.layers import LAYERS, NORMALIZATIONS

QUICK = {("Bert", "sdpa"), ("Llama", "eager"), ("Gemma3", "eager"), ("Whisper", "sdpa")}
QUICK |= {("Swin", "eager"), ("DiT", "sdpa")}
"""One of each kind, for ``make test``."""


def _marks(case: Case, implementation: str) -> list[pytest.MarkDecorator]:
    return [] if (case.name, implementation) in QUICK else [pytest.mark.models]


cases = pytest.mark.parametrize(
    ("case", "implementation"),
    [
        pytest.param(case, name, id=f"{case.name}-{name}", marks=_marks(case, name))
        for case in CASES
        for name in case.implementations
    ],
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    snipjit.reset_stats()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", (FutureWarning, UserWarning))
        yield


def _tensors(result: Any) -> list[torch.Tensor]:
    """Every tensor of a result, whatever dataclass of a library holds it."""
    if hasattr(result, "to_tuple"):
        result = result.to_tuple()
    leaves = tree_leaves(result)
    if len(leaves) == 1 and leaves[0] is result:
        return [result] if isinstance(result, torch.Tensor) else []
    return [tensor for leaf in leaves for tensor in _tensors(leaf)]


def assert_equal(got: Any, expected: Any) -> None:
    """Equal within what two layers of rounding make of it."""
    pairs = list(zip(_tensors(got), _tensors(expected), strict=True))
    assert pairs
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=2e-5 * max(1.0, _peak(other)), rtol=0)
        assert one.stride() == other.stride()


def _peak(tensor: torch.Tensor) -> float:
    return float(tensor.abs().max())


def _graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@cases
def test_model(case: Case, implementation: str) -> None:
    model = case.model(implementation)
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    before, kernels = _graphs(), 0
    for size in case.sizes:
        inputs = case.inputs(*size)
        assert_equal(compiled(**inputs), model(**inputs))
        kernels = kernels or snipjit.stats().kernels_compiled
    stats = snipjit.stats()
    reasons = [refusal.reason for refusal in stats.refusals]
    assert stats.subgraphs == case.fused, reasons
    assert len(reasons) == case.refused.count, reasons
    assert all(re.search(case.refused.reason, reason) for reason in reasons), reasons
    assert kernels <= stats.kernels_compiled <= 2 * kernels  # by rows, and by columns for few
    assert stats.kernel_calls == case.fused * len(case.sizes)
    assert _graphs() - before == 1


QUICK_LAYERS = {("Bert", "sdpa"), ("DeepseekV3", "sdpa"), ("ViT", "sdpa")}
"""Of these also what other patterns find, for ``make test``."""


@pytest.mark.parametrize(
    ("case", "implementation"),
    [
        pytest.param(case, name, id=f"{case.name}-{name}", marks=marks)
        for case in CASES
        for name in case.implementations
        for marks in [[] if (case.name, name) in QUICK_LAYERS else [pytest.mark.models]]
    ],
)
def test_model_with_all_patterns(case: Case, implementation: str) -> None:
    """Attention is taken as without the others, and these are but where PyTorch is faster."""
    model = case.model(implementation)
    options: dict[str, Any] = {"fuse": ("attention", "linear", "normalization", "convolution")}
    compiled = torch.compile(model, backend="snipjit", dynamic=True, options=options)
    errors = Errors(model)
    for size in case.sizes:
        inputs = case.inputs(*size)
        ours, eager = compiled(**inputs), model(**inputs)
        assert_equal(ours, eager)
        errors.add(inputs, ours, eager)
    assert errors.ours <= 1.5 * errors.eager
    stats = snipjit.stats()
    found = Counter(stats.patterns)
    refused = {name: [r for r in stats.refusals if r.pattern == name] for name in options["fuse"]}
    assert all(r.is_expected for r in stats.refusals if r.pattern != "attention"), stats.refusals
    assert (found["attention"], len(refused["attention"])) == (case.fused, case.refused.count)
    layers = found["linear"] + found["convolution"]
    assert layers + len(refused["linear"]) + len(refused["convolution"]) == LAYERS[case.name]
    assert found["normalization"] == NORMALIZATIONS[case.name]
    assert stats.kernel_calls == stats.subgraphs * len(case.sizes)


class Errors:
    """Sums of differences of all results from those of the same weights in float64.

    Of all, as the few logits of a small model say little: an error of one is luck. Rows that see
    no key do not count: they are NaN in float64, whose lowest number overflows.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.wide = copy.deepcopy(model).double()
        self.ours = self.eager = 0.0

    def add(self, inputs: dict[str, Any], ours: Any, eager: Any) -> None:
        """Count the results of a call."""
        wide = {name: _widened(value) for name, value in inputs.items()}
        try:
            right = _tensors(self.wide(**wide))
        except RuntimeError as error:
            if "got Double" not in str(error):
                raise
            return  # grouped_mm, which there is no float64 of
        self.ours += self._distance(_tensors(ours), right)
        self.eager += self._distance(_tensors(eager), right)

    @staticmethod
    def _distance(results: list[torch.Tensor], right: list[torch.Tensor]) -> float:
        pairs = zip(results, right, strict=True)
        return sum(float((a.double() - b).abs()[b.isfinite()].sum()) for a, b in pairs)


def _widened(value: Any) -> Any:
    is_narrow = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.double() if is_narrow else value


NARROW = {("Llama", "eager"), ("Llama", "sdpa"), ("Bert", "eager"), ("Gemma2", "eager")}
"""Run in bfloat16 and float16 too."""


@pytest.mark.models
@pytest.mark.all_patterns
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
@pytest.mark.parametrize(
    ("case", "implementation"),
    [
        pytest.param(case, name, id=f"{case.name}-{name}")
        for case in CASES
        for name in case.implementations
        if (case.name, name) in NARROW
    ],
)
def test_model_in_16_bits(case: Case, implementation: str, dtype: torch.dtype) -> None:
    """As near to the same weights in float64 as eager is."""
    model = case.model(implementation).to(dtype)
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    errors = Errors(model)
    for size in case.sizes:
        inputs = case.inputs(*size)
        ours, eager = compiled(**inputs), model(**inputs)
        assert _tensors(ours)[0].dtype == _tensors(eager)[0].dtype == dtype
        errors.add(inputs, ours, eager)
    assert 0 < errors.ours <= 1.1 * errors.eager
    assert snipjit.stats().patterns["attention"] == case.fused, snipjit.stats().refusals
