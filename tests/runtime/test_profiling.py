"""While a profiler runs kernels appear under names that say what they are, with their shapes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.runtime.launcher import Launcher
from snipjit.torch_private import PROFILING, profiler
from tests.runtime.workers import scale_add_structure


def profile() -> Any:
    """A profiler of the CPU that keeps shapes."""
    make: Any = torch.profiler.profile  # torch gives it no types
    return make(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)


def ours(of: Any) -> list[Any]:
    """The events of kernels."""
    return [event for event in of.events() if event.name.startswith("snipjit::")]


def test_a_launcher_has_a_name_and_shapes() -> None:
    launcher, x = Launcher(scale_add_structure()), torch.randn(2, 31, 40)
    with profile() as told:
        result = launcher(x, x, 0.5)
    (event,) = ours(told)
    assert event.name == launcher.name
    assert event.name.startswith("snipjit::kernel[")
    assert event.input_shapes[:2] == [[2, 31, 40]] * 2
    torch.testing.assert_close(result, launcher(x, x, 0.5), rtol=0, atol=0)
    assert launcher.calls == 2


def test_an_error_ends_the_record() -> None:
    launcher, x = Launcher(scale_add_structure()), torch.randn(2, 3)
    with profile() as told:
        with pytest.raises(snipjit.InputError):
            launcher(x.double(), x, 0.5)
        launcher(torch.randn(1, 2, 3), torch.randn(1, 2, 3), 0.5)
    assert [event.cpu_parent for event in ours(told)] == [None, None]


class Layer(nn.Module):
    """Kernels with nothing of PyTorch's between them: a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(64, 64) for _ in range(4))
        self.up = nn.Linear(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        parts = (one(x).unflatten(-1, (4, 16)) for one in (self.query, self.key, self.value))
        q, k, v = (part.transpose(1, 2) for part in parts)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = nn.functional.gelu(self.up(self.out(y.transpose(1, 2).flatten(2))))
        return result


@pytest.mark.all_patterns
@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_each_kernel_of_a_model_is_seen(rest: str, anew: None) -> None:
    torch.manual_seed(0)
    model, x = Layer().eval(), torch.randn(2, 9, 64)
    options: dict[str, Any] = {"rest": rest}
    compiled = torch.compile(model, backend="snipjit", options=options)
    expected = compiled(x)
    snipjit.reset_stats()
    with profile() as told:
        result = compiled(x)
    assert torch.equal(result, expected)
    names = Counter(event.name.partition("[")[0] for event in ours(told) if "[" in event.name)
    assert names == {"snipjit::attention": 1, "snipjit::linear": 3}
    words = " ".join(event.name for event in ours(told))
    assert "d16 causal" in words
    assert "64→128 gelu" in words
    calls = snipjit.stats().kernel_calls
    compiled(x)
    assert snipjit.stats().kernel_calls == 2 * calls == 8


def test_the_flag_is_torchs_own() -> None:
    def flag() -> bool:
        return bool(eval(PROFILING, {"profiler": profiler}))

    assert not flag()
    with profile():
        assert flag()
    assert not flag()
