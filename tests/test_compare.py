"""Errors between results: shapes, NaN, infinities, and what they are relative to."""

from __future__ import annotations

from math import inf, nan

import torch

from snipjit.cli.compare import error_between, interleaved_medians, tensors


def test_error_is_largest_over_all_tensors() -> None:
    ours = {"a": torch.tensor([1.0, 2.0]), "b": (torch.tensor([10.5]), None)}
    reference = {"a": torch.tensor([1.0, 2.25]), "b": (torch.tensor([10.0]), None)}
    absolute, relative = error_between(ours, reference)
    assert absolute == 0.5
    assert relative == 0.25 / 2.25


def test_equal_nan_and_infinity_are_no_error() -> None:
    value = torch.tensor([nan, inf, -inf, 1.0])
    assert error_between(value, value.clone()) == (0.0, 0.0)


def test_misplaced_nan_or_infinity_is_infinite() -> None:
    for ours, reference in (([nan], [1.0]), ([1.0], [nan]), ([inf], [-inf]), ([inf], [1.0])):
        assert error_between(torch.tensor(ours), torch.tensor(reference)) == (inf, inf)


def test_other_shape_or_dtype_is_infinite() -> None:
    assert error_between(torch.zeros(2), torch.zeros(2, 1)) == (inf, inf)
    assert error_between(torch.zeros(2), torch.zeros(2).double()) == (inf, inf)


def test_empty_results_agree() -> None:
    assert error_between(torch.zeros(0), torch.zeros(0)) == (0.0, 0.0)
    assert error_between((), ()) == (0.0, 0.0)


def test_tensors_in_order() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert [t.item() for t in tensors([a, {"x": b}, 3])] == [0.0, 1.0]


def test_interleaved_calls_take_turns() -> None:
    order: list[str] = []
    medians = interleaved_medians([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert order == ["a", "b"] * 3
    assert len(medians) == 2
