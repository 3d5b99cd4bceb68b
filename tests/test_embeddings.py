"""Embeddings are read where they are summed and normalized, compiled and exported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.errors import IndexRangeError
from tests.embedding_forms import FEATURES, FORMS, OF_OTHERS, PLACES, WORDS, ids_of
from tests.roads import LONG, ROADS, compile_on

pytestmark = pytest.mark.usefixtures("anew")

OPTIONS: dict[str, Any] = {"fuse": ["normalization", "elementwise"]}
SIZES = ((2, 9), (3, 31), (13, 17), (2, 2))


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _compare(compiled: Callable[..., Any], model: nn.Module, ids: Tensor) -> None:
    """Shapes and strides are those of eager, values as near to float64 as float32 is."""
    exact = _listed(copy.deepcopy(model).double()(ids))
    for have, eager, want in zip(_listed(compiled(ids)), _listed(model(ids)), exact, strict=True):
        assert (have.shape, have.stride(), have.dtype) == (eager.shape, eager.stride(), eager.dtype)
        torch.testing.assert_close(have.double(), want, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", [*FORMS, *OF_OTHERS])
def test_forms(name: str, road: str) -> None:
    form = {**FORMS, **OF_OTHERS}[name]
    model = form.model()
    compiled = compile_on(model, road, (ids_of(*SIZES[0]),), OPTIONS)
    sizes = {"dynamic": SIZES, "static": SIZES[:1], "program": SIZES[::2]}[road]
    for size in sizes:
        _compare(compiled, model, ids_of(*size))
    assert snipjit.stats().kernel_calls == form.kernels * len(sizes)


@pytest.mark.parametrize(
    ("name", "tables"),
    [("words, types and places", 3), ("words and places, read again", 2), ("expanded places", 3)],
)
def test_each_table_is_read_by_the_kernel(name: str, tables: int) -> None:
    report = snipjit.explain(FORMS[name].model(), ids_of(2, 9), options=OPTIONS).details()
    assert report.count("= gather") == tables


@pytest.mark.parametrize("name", OF_OTHERS)
def test_what_changes_a_table_or_its_gradients_stays(name: str) -> None:
    report = snipjit.explain(OF_OTHERS[name].model(), ids_of(2, 9), options=OPTIONS).details()
    assert "= gather" not in report


@pytest.mark.parametrize("name", ["words, types and places", "words, read again"])
def test_lengths_of_none_and_one(name: str) -> None:
    model = FORMS[name].model()
    compiled = compile_on(model, "dynamic", (), OPTIONS)
    for size in ((2, 9), (1, 1), (1, 31), (5, 1), (0, 7), (2, 0)):
        _compare(compiled, model, ids_of(*size))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_of_either_type_in_any_layout(dtype: torch.dtype) -> None:
    model = FORMS["words and places, read again"].model()
    compiled = compile_on(model, "dynamic", (), OPTIONS)
    ids = ids_of(18, 24, dtype)
    views = (ids[:9, 3:20], ids.t()[:7, :9], ids[::2, ::3], ids[:1].expand(5, -1))
    for view in (*views, ids[:, :1].expand(-1, 6)):
        _compare(compiled, model, view)


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=LONG)])
def test_tables_of_16_bits(dtype: torch.dtype) -> None:
    """Computed in float32 and rounded once: no further from float64 than eager."""
    model = FORMS["words and places, read again"].model().to(dtype)
    ids = ids_of(3, 31)
    compiled = compile_on(model, "dynamic", (ids,), OPTIONS)
    exact = copy.deepcopy(model).double()(ids)
    for have, eager, want in zip(compiled(ids), model(ids), exact, strict=True):
        assert have.dtype == dtype
        bound = 1.01 * (eager.double() - want).abs().max() + torch.finfo(dtype).eps
        assert (have.double() - want).abs().max() <= bound
    assert snipjit.stats().kernel_calls == 1


# Ids that are none.

OUTSIDE = (-1, WORDS, -(2**31), 2**31 - 1)
FAR = (2**32, 2**32 + 1, -(2**63), 2**63 - 1)
"""The low halves of some of these are ids."""


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_an_id_that_is_none_is_the_error_of_eager(road: str, dtype: torch.dtype) -> None:
    model = FORMS["words and places, read again"].model()
    compiled = compile_on(model, road, (ids_of(2, 9, dtype),), OPTIONS)
    for wrong in (*OUTSIDE, *(FAR if dtype is torch.int64 else ())):
        ids = ids_of(2, 9, dtype)
        ids[-1, -1] = wrong
        with pytest.raises(IndexError, match="index out of range in self"):
            model(ids)
        with pytest.raises(IndexRangeError, match=r"index out of range in self.* size 50"):
            compiled(ids)
        _compare(compiled, model, ids_of(2, 9, dtype))


def test_every_table_has_its_own_height() -> None:
    """A position is beyond its table, words are not."""
    model = FORMS["words and places"].model()
    compiled = compile_on(model, "dynamic", (), OPTIONS)
    _compare(compiled, model, ids_of(2, PLACES))
    cast("Tensor", model.positions)[0, -1] = PLACES
    with pytest.raises(IndexRangeError, match=f"from 0 to {PLACES}, but dim 0 .* size {PLACES}"):
        compiled(ids_of(2, PLACES))


class _Encoder(nn.Module):
    """Embeddings, and a layer that is one call with them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = FORMS["words, types and places"].model()
        self.layer = nn.Linear(FEATURES, 40)

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = torch.relu(self.layer(self.embed(ids)))
        return result


def test_a_chain_tells_of_an_id_that_is_none() -> None:
    model = _Encoder().eval()
    options = {"fuse": [*OPTIONS["fuse"], "linear"]}
    compiled = compile_on(model, "dynamic", (), options)
    for _ in range(2):
        for size in SIZES:
            torch.testing.assert_close(compiled(ids_of(*size)), model(ids_of(*size)))
            wrong = ids_of(*size)
            wrong[0, 1] = WORDS
            with pytest.raises(IndexRangeError, match="index out of range in self"):
                compiled(wrong)


def test_tables_that_need_gradients_stay() -> None:
    model = FORMS["words, types and places"].model()
    compiled = compile_on(model, "dynamic", (), OPTIONS)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        result = compiled(ids_of(2, 9))
    assert result.requires_grad
    assert snipjit.stats().kernel_calls == 0


def test_a_table_that_lies_across_stays() -> None:
    """It would be copied at each call."""
    table = torch.randn(FEATURES, WORDS).t()
    model = FORMS["normalized"].model()
    cast("nn.Embedding", model.words).weight = nn.Parameter(table, requires_grad=False)
    report = snipjit.explain(model, ids_of(2, 9), options=OPTIONS).details()
    assert "= gather" not in report
