"""Other products and masks of integers through the compiler, in graphs of all kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import snipjit
from tests.passes.fx.attention_forms import Form, Model
from tests.passes.fx.more_forms import MORE
from tests.passes.fx.product_forms import PRODUCT_FORMS

BIASES = ("raised", "raised_weights", "selected")
INTEGERS = ("times_bytes", "times_integers", "times_made_integers")
QUICK = (
    "selected",
    "vector",
    "added",
    "times_bytes",
    "inner_of_ranks",
    "tensordot_flipped",
    "sublists_of_the_transpose",
)
FORMS = [
    pytest.param(form, id=form.name, marks=[] if form.name in QUICK else [pytest.mark.long])
    for form in (*PRODUCT_FORMS, *(form for form in MORE if form.name in (*INTEGERS, *BIASES)))
]


def _check(result: Any, form: Form) -> None:
    """One kernel ran, equal to eager."""
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals
    expected = form.function(*form.inputs())
    torch.testing.assert_close(result, expected, atol=2e-6, rtol=1e-5)
    assert result.stride() == expected.stride()


@pytest.mark.parametrize("dynamic", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("form", FORMS)
def test_compiled(form: Form, dynamic: bool) -> None:
    torch._dynamo.reset()
    snipjit.reset_stats()
    with torch.no_grad():
        compiled = torch.compile(form.function, backend="snipjit", dynamic=dynamic)
        _check(compiled(*form.inputs()), form)


@pytest.mark.parametrize("core", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("form", FORMS)
def test_exported(form: Form, core: bool) -> None:
    """As it was exported, and in core ATen, which has mul and sum for products with vectors."""
    core = core and not form.name.startswith("vector")
    snipjit.reset_stats()
    with torch.no_grad():
        program = torch.export.export(Model(form.function), form.inputs())
        program = program.run_decompositions() if core else program
        _check(snipjit.compile(program)(*form.inputs()), form)
