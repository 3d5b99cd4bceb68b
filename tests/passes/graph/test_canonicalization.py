from __future__ import annotations

from dataclasses import replace

import pytest

from snipjit.errors import UnsupportedError
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.passes.graph.canonicalization import Canonicalization
from tests.passes.graph.support import before_and_after, lines, rewritten
from tests.subgraphs import attention


def test_dims_that_an_operation_aligns_share_axes() -> None:
    before = """
        subgraph @g
        axis q0
        axis q1
        axis k0 = 64
        axis k1
        axis c0
        axis c1
        %q = parameter : f32[q0][q1]
        %k = parameter : f32[k0][k1]
        %bias = parameter {ones=(0)} : f32[c0][c1]
        %s = matmul %q %k : f32[q0][k1]
        %y = add %s %bias : f32[q0][k1]
        %r = result %y {order=(0, 1)} : f32[q0][k1]
    """
    after = """
        subgraph @g
        axis q0
        axis k0 = 64
        axis c1
        %q = parameter : f32[q0][k0]
        %k = parameter : f32[k0][c1]
        %bias = parameter : f32[][c1]
        %s = matmul %q %k : f32[q0][c1]
        %y = add %s %bias : f32[q0][c1]
        %r = result %y {order=(0, 1)} : f32[q0][c1]
    """
    assert rewritten(Canonicalization(), before) == lines(after)


def test_repeated_heads_become_products() -> None:
    _, after = before_and_after(Canonicalization, "attention_grouped")
    q, k = after.parameters[:2]
    assert len(q.type.dims[1]) == 2
    assert q.type.dims[1][:1] == k.type.dims[1]


def _shapes(subgraph: Subgraph) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {node.name: node.type.dims for node in subgraph.parameters}


def test_a_batch_of_one_has_the_structure_of_any_batch() -> None:
    general = attention("padding")
    single = general.with_nodes(
        replace(node, attrs={"ones": (0, *node.attrs.get("ones", ()))})
        if node.op == "parameter"
        else node
        for node in general.nodes
    )
    assert print_subgraph(run_pipeline(PIPELINE, single)) == print_subgraph(
        run_pipeline(PIPELINE, general)
    )


def test_one_key_head_becomes_the_batch_axis_of_the_query_heads() -> None:
    general = attention()
    single = general.with_nodes(
        replace(node, attrs={"ones": (1,)}) if node.name in ("k", "v") else node
        for node in general.nodes
    )
    shapes = _shapes(Canonicalization().run(single))
    assert shapes["k"][1] == shapes["q"][1] == shapes["v"][1]


def test_a_single_query_row_stays_the_row_axis() -> None:
    general = attention("padding")
    single = general.with_nodes(
        replace(node, attrs={"ones": (2,)}) if node.name == "q" else node for node in general.nodes
    )
    shapes = _shapes(Canonicalization().run(single))
    assert len(shapes["q"][2]) == 1
    assert shapes["mask"][2] == ()


def test_static_sizes_must_agree() -> None:
    subgraph = attention()
    axes = {**subgraph.axes, "q3": 64, "k3": 32}
    with pytest.raises(UnsupportedError, match=r"static size 64.*of size 32"):
        Canonicalization().run(replace(subgraph, axes=axes))


def test_a_static_size_reaches_the_dims_it_meets() -> None:
    subgraph = attention()
    after = Canonicalization().run(replace(subgraph, axes={**subgraph.axes, "q3": 64}))
    assert [after.axes[p.type.dims[3][0]] for p in after.parameters] == [64, 64, None]


def test_rows_and_columns_of_one_tensor_are_refused() -> None:
    build = SubgraphBuilder("gram")
    x = build.add("parameter", TensorType.of("f32", "x0", "x1"), name="x")
    t = build.add("transpose", TensorType.of("f32", "x1", "x0"), x, order=(1, 0))
    build.result(build.add("matmul", TensorType.of("f32", "x0", "x0"), x, t))
    with pytest.raises(UnsupportedError, match="a parameter of its own"):
        Canonicalization().run(build.subgraph())


def test_an_index_along_a_product_is_refused() -> None:
    before = """
        subgraph @g
        axis x
        axis h
        axis d
        %x = parameter : f32[x]
        %w = parameter : f32[h d]
        %i = iota {axis=x} : i32[x]
        %f = to_f32 %i : f32[x]
        %a = add %x %f : f32[x]
        %y = add %a %w : f32[x]
        %r = result %y {order=(0)} : f32[x]
    """
    with pytest.raises(UnsupportedError, match="one is accepted"):
        rewritten(Canonicalization(), before)


ROWS = """
    subgraph @g
    axis q0
    axis q1
    axis q2
    axis k0
    axis k1
    axis c0
    axis c1
    %q = parameter {ones=(ONES)} : f32[q0][q1][q2]
    %k = parameter : f32[k0][k1]
    %c = parameter : f32[c0][c1]
    %v = view %q : f32[q0 q1][q2]
    %s = matmul %v %k : f32[q0 q1][k1]
    %y = add %s %c : f32[q0 q1][k1]
    %r = result %y {order=(0, 1)} : f32[q0 q1][k1]
"""
"""Rows of two axes: positions and a batch, in one order or the other."""


@pytest.mark.parametrize(("ones", "kept"), [("0", 2), ("1", 1), ("0, 1", 2)])
def test_rows_end_with_an_axis_that_is_longer_than_1(ones: str, kept: int) -> None:
    after = Canonicalization().run(parse_subgraph(lines(ROWS.replace("ONES", ones))))
    rows = after["s"].type.dims[0]
    assert len(rows) == kept
    assert rows == after["c"].type.dims[0] == after["r"].type.dims[0]
    assert sum(after["q"].type.dims[:2], ()) == rows


STACKED = """
    subgraph @g
    axis x0
    axis x1
    axis x2
    axis w0 = SIZE
    axis w1 = 8
    axis w2 = 16
    axis c0
    axis c1
    axis c2
    %x = parameter : f32[x0][x1][x2]
    %w = parameter ONES : f32[w0][w1][w2]
    %c = parameter {ones=(0, 1)} : f32[c0][c1][c2]
    %s = matmul %x %w : f32[x0][x1][w2]
    %y = add %s %c : f32[x0][x1][w2]
    %r = result %y {order=(0, 1, 2)} : f32[x0][x1][w2]
"""


def test_what_meets_one_of_several_weights_is_compiled_so() -> None:
    """The stack has a static size, which no call may contradict by a dim of size 1."""
    text = lines(STACKED.replace("SIZE", "3").replace("ONES ", ""))
    after = Canonicalization().run(parse_subgraph(text))
    x, w, c = (node.type.dims for node in after.parameters)
    assert (x[0], c[:2]) == (w[0], ((), ()))
    assert after.axes[w[0][0]] == 3


def test_a_stack_of_one_weight_is_compiled_so() -> None:
    """It says nothing of the batch."""
    text = lines(STACKED.replace("SIZE", "1").replace("ONES", "{ones=(0)}"))
    after = Canonicalization().run(parse_subgraph(text))
    x, w, c = (node.type.dims for node in after.parameters)
    assert (w[0], c[0]) == ((), x[0])
    assert after.axes[x[0][0]] is None


LATER = """
    subgraph @elementwise
    axis a0
    axis a1 = 8
    axis b0
    axis b1
    axis c0
    axis c1
    %a = parameter : f32[a0][a1]
    %b = parameter : f32[b0][b1]
    %c = parameter {ones=(1)} : f32[c0][c1]
    %0 = sub %b %c : f32[b0][b1]
    %1 = add %a %0 : f32[a0][a1]
    %result = result %1 {order=(0, 1)} : f32[a0][a1]
"""


def test_a_later_operation_may_tell_what_a_dim_of_one_meets() -> None:
    """Only the sum says that the features of %b are those of %a, of a static size."""
    after = Canonicalization().run(parse_subgraph(lines(LATER)))
    a, b, c = (node.type.dims for node in after.parameters)
    assert (a, c) == (b, (a[0], ()))
