"""sdpa in core ATen: a softmax whose hidden rows are 0, between products of scaled operands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import Dim

import snipjit
from snipjit.passes.fx import tokenize
from snipjit.passes.fx.patterns import attention


class Attention(torch.nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, *inputs: Tensor) -> Tensor:
        attend: Any = F.scaled_dot_product_attention
        result: Tensor = attend(*inputs, **self.options)
        return result


def _inputs(heads: int = 4, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(heads)
    shapes = ((2, 4, 9, 16), (2, heads, 7, 16), (2, heads, 7, 16))
    return tuple(torch.randn(shape, generator=random).to(dtype) for shape in shapes)


def _visible(*shape: int) -> Tensor:
    """A mask with a row and a column of False."""
    visible = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.4
    visible[..., 3, :] = visible[..., 0] = False
    return visible


def _hiding(*shape: int) -> Tensor:
    return torch.where(_visible(*shape), 0.25, -float("inf"))


FORMS: dict[str, tuple[tuple[Tensor, ...], dict[str, Any]]] = {
    "plain": (_inputs(), {}),
    "scaled": (_inputs(), {"scale": 0.37}),
    "causal": (_inputs(), {"is_causal": True}),
    "boolean": ((*_inputs(), _visible(2, 1, 9, 7)), {}),
    "of two dims": ((*_inputs(), _visible(9, 7)), {}),
    "added": ((*_inputs(), _hiding(2, 4, 9, 7)), {}),
    "groups": (_inputs(2), {"enable_gqa": True}),
    "causal groups": (_inputs(2), {"enable_gqa": True, "is_causal": True}),
    "masked groups": ((*_inputs(2), _hiding(2, 1, 9, 7)), {"enable_gqa": True}),
    "halves": (_inputs(dtype=torch.bfloat16), {"is_causal": True}),
}
QUICK = ("causal", "boolean", "masked groups")
PARAMS = [pytest.param(of, marks=[] if of in QUICK else [pytest.mark.long]) for of in FORMS]


@pytest.mark.parametrize("dynamic", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("name", PARAMS)
def test_decomposed_programs(name: str, dynamic: bool) -> None:
    inputs, options = FORMS[name]
    model = Attention(**options)
    shapes = [dict.fromkeys(range(min(x.dim(), 3)), Dim.AUTO) for x in inputs]
    given = {"inputs": tuple(shapes)} if dynamic else None
    with torch.no_grad():
        program = torch.export.export(model, inputs, dynamic_shapes=given).run_decompositions()
        expected = program.module()(*inputs)
        snipjit.reset_stats()
        result = snipjit.compile(program)(*inputs)
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals
    assert result.stride() == expected.stride()
    if inputs[0].dtype == torch.float32:
        torch.testing.assert_close(result, expected, atol=2e-6, rtol=1e-5)
    else:
        torch.testing.assert_close(result, expected)


def test_a_causal_mask_is_made_of_indices() -> None:
    program = torch.export.export(Attention(is_causal=True), _inputs()).run_decompositions()
    (candidate,) = tokenize(program.graph_module, [attention.Attention()]).candidates
    assert len(candidate.tensors) == 3
    assert len(candidate.subgraph.of("iota")) == 2
    (softmax,) = candidate.subgraph.of("softmax")
    assert softmax.attrs == {"dim": -1, "hidden": "zero"}
