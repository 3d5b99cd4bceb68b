from __future__ import annotations

import pytest

from tests.passes.fx.attention_forms import Form, Model
from tests.passes.fx.more_forms import MORE
from tests.passes.fx.support import assert_equal_to_eager, exported, graph_of


def _is_subsequence(wanted: tuple[str, ...], found: list[str]) -> bool:
    rest = iter(found)
    return all(op in rest for op in wanted)


@pytest.mark.parametrize("form", MORE, ids=lambda form: form.name)
def test_dynamo_graphs(form: Form) -> None:
    dynamic = graph_of(form.function, *form.inputs())
    assert _is_subsequence(form.expected, dynamic.ops), dynamic.ops
    assert_equal_to_eager(dynamic)


@pytest.mark.long
@pytest.mark.parametrize("form", MORE, ids=lambda form: form.name)
def test_exported_graphs(form: Form) -> None:
    inputs = form.inputs()
    dynamic = graph_of(form.function, *inputs)
    aten = exported(Model(form.function), inputs)
    assert aten.candidate.subgraph.nodes == dynamic.candidate.subgraph.nodes
