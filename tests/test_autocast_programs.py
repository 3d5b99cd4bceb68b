"""Programs exported with ``torch.autocast`` inside compute what their module does, in its types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit

Form = Callable[[Any, Tensor, Tensor, Tensor], Any]


def einsum(m: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bhid,bhjd->bhij", q, k)
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v)


FORMS: dict[str, Form] = {
    "matmul": lambda m, q, k, v: (q @ k.mT).softmax(-1) @ v,
    "einsum": einsum,
    "one narrow operand": lambda m, q, k, v: torch.einsum("bhid,bhjd->bhij", m.linear(q), k),
    "sdpa": lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v),
    "tensordot": lambda m, q, k, v: torch.tensordot(q, k, dims=([3], [3])),
    "inner": lambda m, q, k, v: torch.inner(q, k),
    "linalg": lambda m, q, k, v: torch.linalg.matmul(q, k.mT),
    "several": lambda m, q, k, v: torch.linalg.multi_dot([q[0, 0], k[0, 0].T, v[0, 0]]),
    "kron": lambda m, q, k, v: torch.kron(q[0, 0], k[0, 0]),
    "float32 alone": lambda m, q, k, v: F.layer_norm(q, (16,)).softmax(-1),
    "outer": lambda m, q, k, v: torch.outer(q[0, 0, 0], k[0, 0, 0]),
}


class Model(nn.Module):
    """A form in an autocast region, and again in a second one inside the first."""

    def __init__(self, form: Form, *regions: dict[str, Any]) -> None:
        super().__init__()
        self.form, self.regions = form, regions
        self.linear = nn.Linear(16, 16)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Any:
        outer, *inner = self.regions
        with torch.autocast("cpu", **outer):
            found = self.form(self, q, k, v)
            if not inner:
                return found
            with torch.autocast("cpu", **inner[0]):
                return found, self.form(self, q, k, v)


REGIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "bfloat16": ({"dtype": torch.bfloat16},),
    "float16": ({"dtype": torch.float16},),
    "off inside": ({"dtype": torch.bfloat16}, {"enabled": False}),
    "off": ({"dtype": torch.bfloat16, "enabled": False},),
}
QUICK = ("matmul", "einsum", "one narrow operand", "sdpa", "tensordot", "several")
CASES = [
    pytest.param(name, "bfloat16", marks=[] if name in QUICK else pytest.mark.long)
    for name in FORMS
]
CASES += [pytest.param("einsum", region) for region in list(REGIONS)[1:]]


@pytest.mark.parametrize(("name", "region"), CASES)
@pytest.mark.usefixtures("fresh")
def test_the_types_are_the_modules(name: str, region: str) -> None:
    model = Model(FORMS[name], *REGIONS[region]).eval()
    q, k, v = torch.randn(3, 2, 4, 7, 16)
    with torch.no_grad():
        wanted = model(q, k, v)
        found = snipjit.compile(model, (q, k, v))(q, k, v)
    pairs = (x if isinstance(x, tuple) else (x,) for x in (found, wanted))
    for one, want in zip(*pairs, strict=True):
        assert one.dtype == want.dtype
        torch.testing.assert_close(one, want, rtol=3e-2, atol=6e-2)


def test_a_given_program_stays_as_it_was() -> None:
    model = Model(FORMS["einsum"], {"dtype": torch.bfloat16}).eval()
    with torch.no_grad():
        exported = torch.export.export(model, tuple(torch.randn(3, 2, 4, 7, 16)))
    before = str(exported)
    snipjit.compile(exported)
    assert str(exported) == before
