"""Repeated: what was repeated is taken for the same only while it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from snipjit.errors import InputError
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.repeated import AGAIN, OFTEN, Repeated
from snipjit.torch_private import layout_check
from tests.runtime.workers import scale_add_structure

X = torch.randn(2, 3, 8)

OTHERS: dict[str, Callable[[], torch.Tensor]] = {
    "shape": lambda: torch.randn(2, 4, 8),
    "one row less": lambda: torch.randn(2, 2, 8),
    "strides": lambda: torch.randn(3, 2, 8).transpose(0, 1),
    "innermost stride": lambda: torch.randn(2, 3, 16)[..., ::2],
    "no strides": lambda: torch.randn(1, 1, 8).expand(2, 3, 8),
    "an offset": lambda: torch.randn(2, 3, 9)[..., 1:],
    "a parameter": lambda: torch.nn.Parameter(torch.randn(2, 3, 8), requires_grad=False),
    "dims": lambda: torch.randn(1, 2, 3, 8)[0],
}


def _repeated(launcher: Launcher) -> None:
    for _ in range(OFTEN + 3):
        torch.testing.assert_close(launcher.call(X, X.clone(), 2.0), X * 2 + X, rtol=0, atol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_other_layouts_have_plans_of_their_own(name: str) -> None:
    launcher = Launcher(scale_add_structure())
    _repeated(launcher)
    for _ in range(2 * OFTEN):
        x = OTHERS[name]()
        torch.testing.assert_close(launcher.call(x, x, 3.0), x * 3.0 + x, rtol=0, atol=0)
        y = OTHERS[name]()
        torch.testing.assert_close(launcher.call(x, y, 3.0), x * 3.0 + y, rtol=0, atol=0)
    _repeated(launcher)


@pytest.mark.parametrize("bad", [X.double(), X.to("meta"), None, "x", torch.randn(7, 8)])
def test_what_does_not_fit_is_refused_as_before(bad: object) -> None:
    launcher = Launcher(scale_add_structure())
    _repeated(launcher)
    with pytest.raises(InputError):
        launcher.call(X, bad, 2.0)
    _repeated(launcher)


def test_modes_come_and_go() -> None:
    launcher = Launcher(scale_add_structure())
    for mode in (torch.no_grad, torch.inference_mode, torch.no_grad):
        with mode():
            _repeated(launcher)
    make_dual: Any = torch.autograd.forward_ad.make_dual  # torch gives it no type
    with pytest.raises(InputError, match="tangent"), torch.autograd.forward_ad.dual_level():
        launcher.call(make_dual(X, X), X.clone(), 2.0)


def test_a_plan_is_repeated_after_some_calls() -> None:
    found, plan = Repeated(), object()
    for _ in range(OFTEN):
        found.note(plan, (X,))
        assert not found.last[0][0](X)
    found.note(plan, (X,))
    is_same, kept = found.last[0]
    assert is_same(X)
    assert kept is plan
    for _ in range(AGAIN):
        found.note(plan, (X.double(),))
    assert found.last[0][0](X.double())
    for _ in range(2 * OFTEN):
        found.note(object(), (X,))
    assert not found.last[0][0](X)


def test_without_the_guards_of_dynamo_nothing_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C._dynamo.guards, "TensorGuards")
    assert not layout_check([X])(X)
