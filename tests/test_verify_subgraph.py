from __future__ import annotations

from typing import Any

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.subgraph import Node, TensorType
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.subgraph import verify_canonical, verify_positional
from tests.kernels import as_written
from tests.subgraphs import attention, attention_grouped, sdpa

POSITIONAL = print_subgraph(attention("padding", boolean=True, D=64))
CANONICAL = print_subgraph(as_written(attention("padding", D=64)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%5 = matmul %q %4", "%5 = matmul %q", "takes 2 operands, has 1"),
        ("%5 = matmul %q %4", "%5 = matmul %q %k", "columns of the right operand"),
        ("%5 = matmul", "%5 = brgemm", "no operation 'brgemm' in this form"),
        ("{order=(0, 1, 3, 2)}", "{order=(0, 1, 3, 3)}", "order must hold each of 0 … 3 once"),
        ("{order=(0, 1, 3, 2)}", "", "attribute order is missing"),
        ("{dim=-1}", "{dim=3}", "counted from the end"),
        ("{dim=-1}", "{dim=minus}", "another type"),
        ("where %mask %6 %7", "where %mask %mask %7", "different element types"),
        ("i1[p0]", "f32[p0]", "where takes i1, not f32"),
        ("axis k2\n", "", "axis k2 is not declared"),
        ("%mask = ", "%q = ", "defined twice"),
        ("%5 = matmul %q", "%5 = matmul %later", "not defined above"),
        ("f32[q0][q1][q2][v3]", "f32[q0][q0][q2][v3]", "appears twice"),
        ("f32[q0][q1][q2][v3]", "f32[q0][k2][q2][v3]", "must be that of an operand"),
    ],
)
def test_positional_faults(old: str, new: str, message: str) -> None:
    assert old in POSITIONAL
    with pytest.raises(VerificationError, match=message) as error:
        verify_positional(parse_subgraph(POSITIONAL.replace(old, new)))
    assert "\n> %" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{over=(d)}", "{over=(m)}", "over must hold axes of both operands"),
        ("{over=(d)}", "{over=()}", "over must hold axes of both operands"),
        ("monoid=larger", "monoid=largest", "unknown monoid"),
        ("over=(n)} : f32[b0][b1][m]\n", "over=(n)} : f32[b0][b1][m][n]\n", "axes must be those"),
        ("brgemm %p0 %p1 {over=(d)}", "matmul %p0 %p1", "no operation 'matmul'"),
        ("i1[b0][b1][m]", "i1[b0][b1][m][]", "one axis in each dim"),
        ("result %13", "result %0", "every axis of"),
        ("add %1 %p3 : f32[b0][b1][m][n]", "add %1 %p3 : i32[b0][b1][m][n]", "must be f32"),
    ],
)
def test_canonical_faults(old: str, new: str, message: str) -> None:
    assert old in CANONICAL
    with pytest.raises(VerificationError, match=message):
        verify_canonical(parse_subgraph(CANONICAL.replace(old, new)))


def test_the_message_shows_the_nodes_around_the_fault() -> None:
    text = CANONICAL.replace("{over=(d)}", "{over=(m)}")
    with pytest.raises(VerificationError) as error:
        verify_canonical(parse_subgraph(text))
    first, *rest = str(error.value).splitlines()
    assert first == "%0 (brgemm): over must hold axes of both operands"
    assert "> %0 = brgemm %p0 %p1 {over=(m)} : f32[b0][b1][m][n]" in rest
    assert len(rest) > 5


def test_a_subgraph_has_a_result() -> None:
    with pytest.raises(VerificationError, match="no result"):
        verify_positional(parse_subgraph("subgraph @g"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sdpa %q %k %v %scale", "sdpa %q %k %v", "the operands are q, k, v"),
        ("{mask=false, scale=true", "{mask=true, scale=false", ""),
        ("f32[q0][q1][q2][v3]", "f32[q0][q1][q2][k3]", "the last dims"),
    ],
)
def test_sdpa_faults(old: str, new: str, message: str) -> None:
    text = print_subgraph(sdpa()).replace(old, new)
    if not message:
        verify_positional(parse_subgraph(text))
        return
    with pytest.raises(VerificationError, match=message):
        verify_positional(parse_subgraph(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unsqueeze %k {dim=2}", "unsqueeze %k {dim=6}", "dim must be from 0 to 4"),
        ("f32[k0][k1 kg][k2][k3]", "f32[k0][kg k1][k2][k3]", "in this order"),
    ],
)
def test_layout_faults(old: str, new: str, message: str) -> None:
    text = print_subgraph(attention_grouped(8))
    assert old in text
    with pytest.raises(VerificationError, match=message):
        verify_positional(parse_subgraph(text.replace(old, new)))


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("matmull", {}, "no operation 'matmull'"),
        ("softmax", {"dims": -1}, "no attribute 'dims'"),
        ("exp", {"round": "f16"}, "no attribute 'round'"),
    ],
)
def test_misspelt_names_are_errors_when_a_node_is_built(
    op: str, attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(VerificationError, match=message):
        Node("x", op, ("a",), TensorType("f32"), attrs)
