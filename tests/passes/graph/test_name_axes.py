from __future__ import annotations

import re

import pytest

from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.graph.name_axes import NameAxes
from tests.passes.graph.support import before_and_after, rewritten

AXES = {
    "attention": ["b0", "b1", "m", "d", "n", "e"],
    "attention_grouped": ["b0", "b1", "b2", "m", "d", "n", "e"],
    "two_values": ["b0", "b1", "m", "d", "n", "e0", "e1"],
    "softmax_alone": ["b0", "m", "n"],
    "log_sum_exp_of_product": ["b0", "m", "d", "n"],
    "mlp": ["b0", "m", "d", "n", "e"],
    "elementwise_chain": ["b0", "b1", "m"],
}


@pytest.mark.parametrize("example", AXES)
def test_roles(example: str) -> None:
    _, after = before_and_after(NameAxes, example)
    assert list(after.axes) == AXES[example]


def test_names_do_not_depend_on_those_before() -> None:
    before, after = before_and_after(NameAxes, "attention_grouped")
    text = re.sub(r"\b([qkv]\d|[kv]g|g)\b", r"other_\1", print_subgraph(before))
    assert rewritten(NameAxes(), text) == print_subgraph(after)


def test_the_row_axis_is_the_last_that_is_kept() -> None:
    _, after = before_and_after(NameAxes, "attention_sequence_major")
    assert after.parameters[0].type.dims[1] == ("m",)
    assert after.kept_axes()[-1] == "m"
