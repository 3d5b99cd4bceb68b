"""Prepared weights: written once, anew when they change, gone with their weight."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.runtime import prepared_weights
from snipjit.torch_private import StorageReference
from tests.linear_forms import Form, weight
from tests.weight_changes import SEEN, Change, name_of

OPTIONS: dict[str, Any] = {"fuse": ("attention", "linear"), "weights": "prepared"}
WIDE = 131


def _layers(*names: str) -> Callable[[], Any]:
    return lambda: {name: nn.Linear(24, WIDE) for name in names}


FORMS = {
    "linear": Form(lambda m, x: m.a(x), _layers("a")),
    "gelu": Form(lambda m, x: nn.functional.gelu(m.a(x)), _layers("a")),
    "matmul": Form(lambda m, x: x @ m.w, lambda: {"w": weight(24, WIDE)}),
    "several": Form(lambda m, x: (m.a(x), m.b(x), m.c(x)), _layers("a", "b", "c")),
    "gate": Form(lambda m, x: torch.sigmoid(m.a(x)) * m.b(x), _layers("a", "b")),
    "heads": Form(lambda m, x: m.a(x)[..., :128].view(2, -1, 4, 32), _layers("a")),
    "long": Form(lambda m, x: m.a(x), lambda: {"a": nn.Linear(1500, WIDE)}, ("L", 1500)),
    "narrow": Form(lambda m, x: m.a(x), lambda: {"a": nn.Linear(24, 5)}),
    "rows of a weight": Form(
        lambda m, x: nn.functional.linear(x, m.w[:100]), lambda: {"w": weight(WIDE, 24)}
    ),
    "from the left": Form(lambda m, x: m.w @ x, lambda: {"w": weight(WIDE, 24)}, (2, 24, "L")),
}
IN_PLACE = ("narrow", "rows of a weight")
"""What is read where it lies, whatever the option says."""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    snipjit.reset_stats()
    snipjit.refresh()
    with torch.no_grad():
        yield
    torch.compiler.reset()


def _compiled(model: nn.Module, **options: Any) -> Callable[[Tensor], Any]:
    chosen = {**OPTIONS, **options}
    return torch.compile(model, backend="snipjit", dynamic=True, options=chosen)


def _assert_right(compiled: Callable[[Tensor], Any], model: nn.Module, x: Tensor) -> None:
    exact = copy.deepcopy(model).double()(x.double())
    found, wanted = compiled(x), exact
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for have, want in pairs:
        torch.testing.assert_close(have.double(), want, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize(
    "road", ["compile", "program", pytest.param("inductor", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, road: str) -> None:
    form = FORMS[name]
    model = form.model()
    compiled: Any
    if road == "program":
        compiled = snipjit.compile(model, (form.input(9),), options=OPTIONS)
    else:
        compiled = _compiled(model, rest="inductor" if road == "inductor" else "eager")
    for length in (9, 2 if road == "program" else 1, 31, 100):
        _assert_right(compiled, model, form.input(length, seed=length))
    assert bool(prepared_weights.prepared_bytes()) == (name not in IN_PLACE and road != "program")
    assert snipjit.stats().kernel_calls >= 4


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.0, 1e-40])
def test_special_numbers(value: float) -> None:
    """A block has room behind the last columns: what is there reaches no result."""
    form = FORMS["linear"]
    model: Any = form.model()
    model.a.weight[3, 2] = model.a.weight[-1, 5] = value
    x = form.input(5)
    torch.testing.assert_close(_compiled(model)(x), model(x), equal_nan=True, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize("change", SEEN, ids=name_of)
def test_changes_that_pytorch_counts(change: Change) -> None:
    form = FORMS["gelu"]
    model, x = form.model(), form.input(9)
    compiled = _compiled(model)
    _assert_right(compiled, model, x)
    change(model)
    _assert_right(compiled, model, x)
    _assert_right(compiled, model, x)
    assert snipjit.stats().subgraphs <= 2


@pytest.mark.parametrize("place", ["module", "compiled", "program", "all"])
def test_changes_that_it_does_not_count(place: str) -> None:
    form = FORMS["gelu"]
    model: Any = form.model()
    x = form.input(9)
    is_program = place == "program"
    program = snipjit.compile(torch.export.export(model, (x,)), options=OPTIONS)
    compiled: Any = program if is_program else _compiled(model)
    _assert_right(compiled, model, x)
    model.a.weight.data.mul_(3)
    given = {"module": model, "compiled": compiled, "program": program, "all": None}[place]
    snipjit.refresh(given)
    _assert_right(compiled, model, x)


def test_weights_made_in_inference_mode() -> None:
    form = FORMS["linear"]
    with torch.inference_mode():
        model: Any = form.model()
        x = form.input(9)
        compiled = _compiled(model)
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-5, atol=4e-6)
        model.a.weight.mul_(2)
        snipjit.refresh(model)
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-5, atol=4e-6)


def test_equal_storages_share_what_was_written() -> None:
    form = Form(lambda m, x: (m.a(x), m.b(x * 2)), _layers("a", "b"))
    model: Any = form.model()
    model.b.weight = nn.Parameter(model.a.weight.detach())
    x = form.input(9)
    _assert_right(_compiled(model), model, x)
    blocks = -(-WIDE // _lanes()) * _lanes() * 24 * 4
    assert prepared_weights.prepared_bytes() == blocks


def _lanes() -> int:
    (form, *_) = prepared_weights.FORMS.values()
    return form.block


def test_blocks_go_with_their_weight() -> None:
    form = FORMS["linear"]
    model: Any = form.model()
    compiled = _compiled(model)
    compiled(form.input(9))
    assert prepared_weights.prepared_bytes()
    model.a.weight = nn.Parameter(model.a.weight.tanh())
    compiled(form.input(9))
    gc.collect()
    assert prepared_weights.prepared_bytes() == -(-WIDE // _lanes()) * _lanes() * 24 * 4
    del model, compiled
    torch.compiler.reset()
    gc.collect()
    assert not prepared_weights.prepared_bytes()


def test_another_weight_at_the_same_address_is_not_the_same() -> None:
    form = FORMS["linear"]
    model: Any = form.model()
    x, compiled = form.input(9), _compiled(model)
    for seed in range(20):
        torch.manual_seed(seed)
        model.a.weight = nn.Parameter(torch.randn(WIDE, 24))
        _assert_right(compiled, model, x)


def test_programs_keep_one_copy_of_what_they_exported() -> None:
    form = Form(lambda m, x: (m.a(x), m.b(x), m.a.weight.sum()), _layers("a", "b"))
    model: Any = form.model()
    x = form.input(9)
    wanted = model(x)
    program = snipjit.compile(model, (x,), options=OPTIONS)
    held = {name: StorageReference(getattr(model, name).weight) for name in "ab"}
    del model
    gc.collect()
    assert held["b"].is_gone
    assert not held["a"].is_gone  # its sum is taken
    for have, want in zip(program(x), wanted, strict=True):
        torch.testing.assert_close(have, want, rtol=2e-5, atol=4e-6)


def test_a_given_export_stays_as_it_was(tmp_path: Any) -> None:
    form = FORMS["linear"]
    model, x = form.model(), form.input(9)
    exported = torch.export.export(model, (x,))
    program = snipjit.compile(exported, options=OPTIONS)
    torch.testing.assert_close(program(x), exported.module()(x), rtol=2e-5, atol=4e-6)
    torch.export.save(exported, tmp_path / "model.pt2")
    again = snipjit.compile(tmp_path / "model.pt2", options=OPTIONS)
    torch.testing.assert_close(again(x), model(x), rtol=2e-5, atol=4e-6)


def test_bad_values_are_named() -> None:
    with pytest.raises(snipjit.OptionError, match="'x' is not one of 'in_place', 'prepared'"):
        snipjit.compile(nn.Linear(24, 5), (torch.randn(9, 24),), options={"weights": "x"})
