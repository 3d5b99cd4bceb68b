from __future__ import annotations

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import fx

from snipjit.ir.operations import ELEMENTWISE, kind_of
from snipjit.passes.fx.index.created import RANGES
from snipjit.passes.fx.index.fills import FILLS
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.gathers import GATHERS
from snipjit.passes.fx.lift.lifter import is_chain_op
from snipjit.passes.fx.lift.products import PRODUCTS
from snipjit.passes.fx.lift.translate_normalizations import NORMALIZATIONS, STATISTICS
from snipjit.passes.fx.lift.translate_reductions import REDUCTIONS
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_table import ROWS

aten = torch.ops.aten

SPELLINGS = {
    "add": [
        torch.add,
        operator.add,
        operator.iadd,
        "add",
        "add_",
        aten.add.Tensor,
        aten.add_.Scalar,
    ],
    "div": [torch.true_divide, operator.truediv, operator.itruediv, "div", aten.div.Tensor],
    "exp": [torch.exp, "exp", "exp_", aten.exp.default],
    "matmul": [torch.matmul, torch.bmm, operator.matmul, "bmm", aten.mm.default],
    "masked_fill": ["masked_fill", "masked_fill_", aten.masked_fill.Scalar],
    "softmax": [F.softmax, torch.softmax, "softmax", aten.softmax.int, aten._softmax.default],
    "sdpa": [F.scaled_dot_product_attention, aten.scaled_dot_product_attention.default],
    "gelu": [F.gelu, aten.gelu.default],
    "transpose": [torch.transpose, "transpose", "swapaxes", aten.transpose.int],
    "view": ["view", "reshape", "flatten", torch.reshape, aten.view.default],
    "cast": ["to", "contiguous", "float", "type_as", aten._to_copy.default, aten.clone.default],
    "fill": [torch.fill, "fill_", aten.fill.Scalar, aten.fill_.Tensor],
    "copy": ["copy_", aten.copy.default, aten.copy_.default],
    "select": [torch.select, "select", aten.select.int],
    "dropout": [F.dropout, torch.dropout, aten.dropout.default],
}


def _node(target: object, *args: object, **kwargs: object) -> fx.Node:
    graph = fx.Graph()
    x = graph.placeholder("x")
    create = graph.call_method if isinstance(target, str) else graph.call_function
    return create(target, (x, *args), kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("op", SPELLINGS)
def test_spellings(op: str) -> None:
    for target in SPELLINGS[op]:
        call = lookup(_node(target, *([] if op == "exp" else [2])))
        assert call is not None, target
        assert call.op == op


def test_arguments_by_position_and_name() -> None:
    for node in (_node(torch.softmax, -1), _node(F.softmax, dim=-1), _node("softmax", dim=-1)):
        call = lookup(node)
        assert call is not None
        assert call.get("dim") == -1


def test_every_canonical_op_has_a_meaning() -> None:
    made = {*FILLS, *RANGES, "scalar_tensor", "empty", "diff", "cumsum", "repeat", "index"}
    # Parts of tensors are written to, and not read.
    others = {
        *PRODUCTS,
        *GATHERS,
        *STATISTICS,
        *NORMALIZATIONS,
        *made,
        "sdpa",
        "select",
        "diagonal",
    }
    for row in ROWS:
        assert is_chain_op(row.op) or row.op in others, row.op


def test_every_function_of_the_ir_can_be_reached() -> None:
    # These and the casts are made by other ops.
    made = {
        "larger",
        "safe",
        "exp4",
        "fms",
        *(name for name in ELEMENTWISE if kind_of(name) == "cast"),
    }
    assert {row.op for row in ROWS if is_elementwise(row.op)} >= set(ELEMENTWISE) - made
    assert set(REDUCTIONS.values()) == {"sum", "max", "min"}


@pytest.mark.parametrize(
    "node",
    [
        _node("add_", 1),
        _node(operator.iadd, 1),
        _node(aten.add_.Tensor, 1),
        _node(F.relu, True),
        _node(F.relu, inplace=True),
        _node(operator.setitem, 0, 1),
    ],
    ids=str,
)
def test_in_place(node: fx.Node) -> None:
    target = mutated(node)
    assert target is not None
    assert target.name == "x"


@pytest.mark.parametrize("node", [_node("add", 1), _node(torch.add, 1), _node(F.relu)], ids=str)
def test_not_in_place(node: fx.Node) -> None:
    assert mutated(node) is None
