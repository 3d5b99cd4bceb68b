"""Linear layers become kernels, in every spelling, compiled and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from snipjit.passes import linear
from tests.linear_forms import FORMS
from tests.roads import ROADS, compile_on
from tests.weight_changes import SEEN, UNSEEN, Change, name_of

pytestmark = pytest.mark.usefixtures("anew")

OPTIONS: dict[str, Any] = {"fuse": ("attention", "linear", "convolution")}
LENGTHS = (9, 1, 31, 17)


@pytest.fixture
def across(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight as [k][n] is compiled, also those by which users have PyTorch multiply."""
    monkeypatch.setattr(linear, "refuse_across", lambda *_: None)


def _compiled(model: nn.Module, road: str, x: Tensor) -> Callable[[Tensor], Any]:
    return compile_on(model, road, (x,), OPTIONS)


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _steps(x: Tensor) -> list[int]:
    """The strides of dims that have several elements."""
    return [step for step, size in zip(x.stride(), x.shape, strict=True) if size > 1]


def _compare(compiled: Callable[[Tensor], Any], model: nn.Module, x: Tensor) -> None:
    """Shapes and strides are those of eager, values as near to float64 as float32 is."""
    expected = _listed(model(x.clone()))
    exact = _listed(copy.deepcopy(model).double()(x.double()))
    for have, eager, want in zip(_listed(compiled(x)), expected, exact, strict=True):
        assert have.shape == eager.shape
        assert _steps(have) == _steps(eager)
        torch.testing.assert_close(have.double(), want, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.usefixtures("across")
def test_forms(name: str, road: str) -> None:
    form = FORMS[name]
    model = form.model()
    compiled = _compiled(model, road, form.input(LENGTHS[0]))
    lengths = {"dynamic": LENGTHS, "static": LENGTHS[:1], "program": LENGTHS[::2]}[road]
    for length in lengths:
        _compare(compiled, model, form.input(length, seed=length))
    stats = snipjit.stats()
    assert stats.kernel_calls == form.kernels * len(lengths)
    assert not stats.refusals


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.0, 1e-40])
def test_special_numbers(value: float) -> None:
    form = FORMS["silu"]
    model, x = form.model(), form.input(5)
    x[0, 2, 3] = value
    have = _compiled(model, "dynamic", x)(x)
    torch.testing.assert_close(have, model(x), equal_nan=True, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (1, 3), "padding": (0, 1)},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 1, "groups": 2},
        {"kernel_size": 1, "padding": 1},
    ],
    ids=str,
)
def test_other_convolutions_are_no_layers(options: dict[str, Any]) -> None:
    model, x = nn.Conv2d(24, 40, **options).eval(), torch.randn(2, 24, 9, 7)
    compiled = _compiled(model, "dynamic", x)
    assert torch.equal(compiled(x), model(x))
    stats = snipjit.stats()
    assert (stats.subgraphs, stats.refusals) == (0, ())


def test_transposed_convolutions_are_no_layers() -> None:
    model, x = nn.ConvTranspose2d(24, 40, 1).eval(), torch.randn(2, 24, 9, 7)
    assert torch.equal(_compiled(model, "dynamic", x)(x), model(x))
    assert snipjit.stats().subgraphs == 0


class Routed(nn.Module):
    """Experts whose rows data choose."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn(3, 24, 40).bfloat16())

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        return F.silu(self.function(x, self.w, offs=ends))


@pytest.mark.parametrize("place", ["torch._grouped_mm", "F.grouped_mm"])
def test_groups_that_data_choose_stay(place: str) -> None:
    home, name = place.split(".")
    function = getattr({"torch": torch, "F": F}[home], name, None)
    if function is None:
        pytest.skip(f"this torch has no {place}")
    model, x = Routed(function).eval(), torch.randn(9, 24).bfloat16()
    compiled = torch.compile(model, backend="snipjit", options=OPTIONS)
    ends = torch.tensor([2, 2, 9], dtype=torch.int32)
    with pytest.warns(UserWarning, match="groups of rows whose sizes are data"):
        torch.testing.assert_close(compiled(x, ends), model(x, ends))
    (refusal,) = snipjit.stats().refusals
    assert "accepted: groups of one size, as in bmm" in refusal.reason


LAST = torch.channels_last


@pytest.mark.parametrize("first", [torch.contiguous_format, LAST])
def test_images_of_either_layout(first: torch.memory_format) -> None:
    """One model is called with both: results lie as eager's."""
    model, shape = nn.Conv2d(24, 40, 1).eval(), (2, 24, 9, 7)
    x = torch.randn(shape).contiguous(memory_format=first)
    compiled = _compiled(model, "dynamic", x)
    for layout in (first, LAST, torch.contiguous_format):
        _compare(compiled, model, torch.randn(shape).contiguous(memory_format=layout))
    assert snipjit.stats().kernel_calls == 3


@pytest.mark.parametrize("name", ["matmul", "addmm", "einsum, kn"])
def test_weights_that_lie_across(name: str) -> None:
    """As in GPT-2; each length has the kernel that it would have alone."""
    form = FORMS[name]
    model = form.model()
    compiled = _compiled(model, "dynamic", form.input(9))
    for length in (9, 1, 31, 200):
        _compare(compiled, model, form.input(length, seed=length))
    assert not snipjit.stats().refusals
    assert snipjit.stats().kernel_calls == 4


def test_no_rows() -> None:
    form = FORMS["linear"]
    model, empty = form.model(), torch.randn(0, 7, 24)
    assert _compiled(model, "dynamic", empty)(empty).shape == (0, 7, 40)


@pytest.mark.all_patterns
def test_taken_by_default() -> None:
    model, x = FORMS["linear"].model(), FORMS["linear"].input(9)
    torch.compile(model, backend="snipjit")(x)
    assert snipjit.stats().subgraphs == 1


def test_left_to_pytorch_on_request() -> None:
    model, x = FORMS["linear"].model(), FORMS["linear"].input(9)
    snipjit.compile(model, (x,), options={"fuse": ["attention"]})
    assert snipjit.stats().subgraphs == 0


def test_other_types_stay() -> None:
    model, x = FORMS["linear"].model().double(), FORMS["linear"].input(9).double()
    assert torch.equal(_compiled(model, "dynamic", x)(x), model(x))
    (refusal,) = snipjit.stats().refusals
    assert refusal.pattern == "linear"
    assert "accepted: torch.float32" in refusal.reason


def test_gradients_keep_the_nodes() -> None:
    model, x = FORMS["gelu"].model(), FORMS["gelu"].input(9)
    with torch.enable_grad(), pytest.warns(UserWarning, match="all linear layers of a graph"):
        _compiled(model, "dynamic", x)(x).sum().backward()
    (found,) = (p.grad for name, p in model.named_parameters() if name == "a.weight")
    assert found is not None
    assert snipjit.stats().subgraphs == 0


# Weights are read where they lie: nothing is stale.


@pytest.mark.parametrize("change", [*SEEN, *UNSEEN], ids=name_of)
def test_weights_that_change_between_calls(change: Change) -> None:
    form = FORMS["gelu"]
    model, x = form.model(), form.input(9)
    compiled = _compiled(model, "dynamic", x)
    _compare(compiled, model, x)
    change(model)
    _compare(compiled, model, x)
    assert snipjit.stats().kernel_calls == 2


def test_weights_that_are_tied() -> None:
    form = FORMS["mlp"]
    model: Any = form.model()
    model.b = nn.Linear(40, 24)
    model.b.weight = nn.Parameter(model.a.weight.t())
    x = form.input(9)
    compiled = _compiled(model, "dynamic", x)
    _compare(compiled, model, x)
    model.a.weight.data.mul_(2)
    _compare(compiled, model, x)


class Hooked(nn.Module):
    """A layer whose weight is computed at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(nn.Linear(24, 40))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.a(x))


def test_computed_weights_stay() -> None:
    model, x = Hooked().eval(), torch.randn(2, 9, 24)
    compiled = _compiled(model, "dynamic", x)
    torch.testing.assert_close(compiled(x), model(x))
    model.a.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(compiled(x), model(x))
    assert snipjit.stats().subgraphs == 0


@pytest.mark.parametrize("value", ["linear", ["attention", "softmax"], 3])
def test_options_that_do_not_exist(value: Any) -> None:
    with pytest.raises(snipjit.OptionError, match="accepted: "):
        snipjit.compile(FORMS["linear"].model(), (torch.randn(2, 9, 24),), options={"fuse": value})


def test_less_than_all() -> None:
    form = FORMS["linear"]
    snipjit.compile(form.model(), (form.input(9),), options={"fuse": []})
    assert snipjit.stats().subgraphs == 0
