from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.graph.drop_softmax_shift import DropSoftmaxShift
from tests.subgraph_calls import assert_same_meaning


def _shifted(shift: str, top: str = "%x", attrs: str = "") -> str:
    return f"""
        subgraph @g
        axis m
        axis n
        %s = parameter : f32[m][n]
        %t = parameter : f32[m][]
        %x = reduce_dims %s {{monoid=max, dims=(-1), keepdim=true}} : f32[m][]
        %y = maximum %x %t : f32[m][]
        %h = mul %x %t : f32[m][]
        %c = sub %s {top} : f32[m][n]
        %u = sub %t {top} : f32[m][]
        %p = softmax %c{shift} {{dim=-1{attrs}}} : f32[m][n]
        %r = result %p {{order=(0, 1)}} : f32[m][n]
    """


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (_shifted(""), ("s",)),
        (_shifted(" %u", "%y"), ("s", "t")),
        (_shifted(" %u"), ("c", "u")),  # the maximum of the others only
        (_shifted("", "%y"), ("c",)),  # more than the maximum
        (_shifted("", "%h"), ("c",)),  # not a maximum
        (_shifted(" %t", "%y"), ("c", "t")),  # one part only
    ],
)
def test_only_the_maximum_of_all_columns_goes(text: str, inputs: tuple[str, ...]) -> None:
    before = parse_subgraph(text)
    after = DropSoftmaxShift().run(before)
    assert after["p"].inputs == inputs
    s = np.random.default_rng(0).standard_normal((5, 4))
    s[0], s[1, 0], s[2, 0], s[3, 1] = -np.inf, -np.inf, np.nan, np.inf
    t = np.array([[-np.inf], [9.0], [0.0], [0.0], [np.inf]])
    for value in (t, np.zeros((5, 1))):
        assert_same_meaning(before, after, ([s, value], []))
