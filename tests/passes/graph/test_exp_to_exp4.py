"""ExpToExp4: exponentials of softmax in base 4, wherever the factor costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.passes.graph.exp_to_exp4 import ExpToExp4
from tests import subgraphs
from tests.passes.graph.support import before_and_after, lines, rewritten


def test_golden(golden: Callable[[str], None]) -> None:
    before, after = before_and_after(ExpToExp4, "attention_padding")
    golden(f"{print_subgraph(before)}\n# after ExpToExp4\n\n{print_subgraph(after)}")


def exponentials(example: str) -> set[str]:
    """The exponentials of an example after data flow."""
    subgraph = run_pipeline(PIPELINE, subgraphs.ALL[example]())
    return {node.op for node in subgraph.of("exp", "exp4")}


def test_which_examples_change() -> None:
    for example in ("attention", "attention_padding", "sdpa_causal", "attention_boolean"):
        assert exponentials(example) == {"exp4"}, example
    # A bias has rows: each element would be multiplied. So would scores that are a result.
    for example in ("attention_bias", "softmax_alone"):
        assert exponentials(example) == {"exp"}, example


HEAD = """
        subgraph @g
        axis m
        axis n
        axis d = 8
        %q = parameter : f32[m][d]
        %k = parameter : f32[n][d]
        %0 = brgemm %q %k {over=(d)} : f32[m][n]
        %s = scalar : f32
"""
TAIL = """
        %3 = sub %1 %2 : f32[m][n]
        %4 = exp %3 : f32[m][n]
        %5 = reduce %4 {monoid=sum, over=(n)} : f32[m]
        %r = result %5 {order=(0)} : f32[m]
"""
MAXIMUM = "        %2 = reduce %1 {monoid=larger, over=(n)} : f32[m]"


@pytest.mark.parametrize(
    ("scores", "changes"),
    [
        ("%1 = mul %0 %s : f32[m][n]", True),
        ("%1 = div %0 %s : f32[m][n]", True),
        ("%t = tanh %0 : f32[m][n] ; %1 = mul %t %s : f32[m][n]", True),
        ("%1 = tanh %0 : f32[m][n]", False),
        ("%t = mul %0 %s : f32[m][n] ; %1 = add %t %0 : f32[m][n]", False),
    ],
)
def test_the_factor_needs_a_scale(scores: str, changes: bool) -> None:
    text = f"{HEAD}        {scores}\n{MAXIMUM}{TAIL}"
    assert ("exp4" in rewritten(ExpToExp4(), text)) == changes


def test_a_maximum_that_is_a_result_keeps_its_base() -> None:
    text = f"{HEAD}        %1 = mul %0 %s : f32[m][n]\n{MAXIMUM}{TAIL}"
    text += "        %r2 = result %2 {order=(0)} : f32[m]\n"
    assert "exp4" not in rewritten(ExpToExp4(), text)


def test_another_shift_keeps_its_base() -> None:
    text = f"{HEAD}        %1 = mul %0 %s : f32[m][n]\n        %2 = sqrt %s : f32{TAIL}"
    assert "exp4" not in rewritten(ExpToExp4(), text)


FILLS = lines("""
    subgraph @g
    axis m
    axis n
    %x = parameter : f32[m][n]
    %keep = parameter : i1[m][n]
    %s = scalar : f32
    %low = constant {value=FILL} : f32
    %0 = mul %x %s : f32[m][n]
    %1 = where %keep %0 %low : f32[m][n]
    %2 = reduce %1 {monoid=larger, over=(n)} : f32[m]
    %3 = sub %1 %2 : f32[m][n]
    %4 = exp %3 : f32[m][n]
    %r = result %4 {order=(0, 1)} : f32[m][n]
""")


@pytest.mark.parametrize("fill", ["-3.4028234663852886e+38", "-10000.0", "-inf"])
def test_fills_do_not_overflow(fill: str) -> None:
    """Rows hidden throughout stay uniform under a finite fill, and NaN under -inf."""
    before = parse_subgraph(FILLS.replace("FILL", fill))
    after = ExpToExp4().run(before)
    assert "exp4" in print_subgraph(after)
    keep = np.array([[True, False, True], [False] * 3])
    inputs = [np.array([[0.5, 2.0, -1.0]] * 2), keep]
    with np.errstate(all="ignore"):
        want, got = (interpret(graph, inputs, [0.7]) for graph in (before, after))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
