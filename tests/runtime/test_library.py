"""Tests of ``snipjit/runtime/library.py``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from snipjit.compiler import compile_subgraph
from snipjit.runtime.kernel_cache import launcher_of
from snipjit.runtime.library import define_op, op_name
from tests.runtime.workers import scale_add_structure
from tests.subgraphs import mean_variance

ORDERS = [(0, 1, 2), (1, 0, 2)]


@pytest.mark.parametrize("order", ORDERS)
def test_opcheck(order: tuple[int, ...]) -> None:
    op = define_op(launcher_of(scale_add_structure(order)))
    x, y = torch.randn(2, 31, 40), torch.randn(31, 2, 40).transpose(0, 1)
    torch.library.opcheck(op, (x, y, 0.5))
    torch.library.opcheck(op, (x, y[:, :1], 0.5))


def test_opcheck_of_several_results() -> None:
    subgraph = mean_variance()
    op = define_op(launcher_of(compile_subgraph(subgraph)))
    torch.library.opcheck(op, (torch.randn(2, 7, 31), 31.0))


def test_scalars_may_arrive_as_tensors() -> None:
    op = define_op(launcher_of(scale_add_structure()), ["Tensor"])
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(op(x, x, torch.tensor([0.5])), x * 1.5)
    assert op is not define_op(launcher_of(scale_add_structure()), ["Scalar"])


def test_defined_once_and_named_by_content() -> None:
    launcher = launcher_of(scale_add_structure())
    assert define_op(launcher) is define_op(launcher)
    names = {op_name(launcher_of(scale_add_structure(order)), ["Scalar"]) for order in ORDERS}
    assert len(names) == 2, "the output layout is part of the name"


def test_the_name_is_the_same_in_another_process() -> None:
    code = (
        "from tests.runtime.workers import scale_add_structure\n"
        "from snipjit.runtime.kernel_cache import launcher_of\n"
        "from snipjit.runtime.library import op_name\n"
        "print(op_name(launcher_of(scale_add_structure()), ['Scalar']))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert output.stdout.strip() == op_name(launcher_of(scale_add_structure()), ["Scalar"])


@pytest.mark.parametrize("dynamic", [False, True])
def test_aot_autograd_traces_it(dynamic: bool) -> None:
    """One graph for all lengths and scales where they are dynamic; strides as in eager."""
    op = define_op(launcher_of(scale_add_structure((1, 0, 2))))

    def model(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = op(a * 2, b.transpose(0, 1) + 1, a.shape[1] ** -0.5)
        return result.relu()

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled: Callable[..., torch.Tensor] = torch.compile(model, backend=counter, dynamic=dynamic)
    with torch.no_grad():
        for n in (31, 17, 5):
            a, b = torch.randn(2, n, 40), torch.randn(n, 2, 40)
            torch.testing.assert_close(compiled(a, b), model(a, b))
            assert compiled(a, b).stride() == model(a, b).stride()
    if dynamic:
        assert counter.frame_count == 1


def test_inductor_compiles_it() -> None:
    op = define_op(launcher_of(scale_add_structure()))

    def model(a: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = op(a * 2, a.transpose(0, 1) + 1, 0.5)
        return result.relu()

    torch._dynamo.reset()
    a = torch.randn(4, 4, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model)(a), model(a))
