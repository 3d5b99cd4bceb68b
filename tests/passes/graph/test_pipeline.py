"""The graph passes together: the printed canonical form of every example, and drawn chains."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.subgraph import verify_between, verify_canonical, verify_positional
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.graph import PIPELINE
from tests.passes.graph.support import examples
from tests.stages import after
from tests.subgraph_calls import SIZES, assert_results, assert_same_meaning, random_call
from tests.subgraphs import ALL

of = TensorType.of


@examples
def test_canonical_form(example: str, golden: Callable[[str], None]) -> None:
    golden(print_subgraph(run_pipeline(PIPELINE, ALL[example]())))


@examples
def test_every_pass_keeps_the_meaning(example: str) -> None:
    """Each stage is legal, reads back and computes the same; a pass has nothing to do again."""
    stages: list[Subgraph] = [ALL[example]()]
    verify_positional(stages[0])
    calls = [random_call(stages[0], sizes, seed) for seed, sizes in enumerate(SIZES)]
    expected = [interpret(stages[0], *call) for call in calls]

    def check(step: Pass, ir: Subgraph) -> None:
        with after(step):
            verify_between(ir)
            assert parse_subgraph(print_subgraph(ir)) == ir
            if ir != stages[-1]:
                for call, results in zip(calls, expected, strict=True):
                    assert_results(ir, call, results)
                ops = {node.op for node in ir.nodes}
                assert {node.op for node in step.run(ir).nodes} == ops
        stages.append(ir)

    verify_canonical(run_pipeline(PIPELINE, stages[0], dump=check))


@examples
def test_the_pipeline_changes_nothing_when_run_twice(example: str) -> None:
    canonical = run_pipeline(PIPELINE, ALL[example]())
    tail = PIPELINE[[step.name for step in PIPELINE].index("FuseLayouts") :]
    assert run_pipeline(tail, canonical) == canonical


@pytest.mark.parametrize("sizes", [{"n": 0}, {"m": 0}, {"b0": 0}], ids=["n", "m", "b0"])
@pytest.mark.parametrize("example", ["attention", "sdpa_causal", "softmax_alone", "two_values"])
def test_empty_axes(example: str, sizes: dict[str, int]) -> None:
    subgraph = ALL[example]()
    call = random_call(subgraph, {**SIZES[0], **sizes})
    assert_same_meaning(subgraph, run_pipeline(PIPELINE, subgraph), call)


SIDES = {
    "full": (("p0", "p1", "p2"), ()),
    "row": (("p0", "p1", "p2"), (2,)),
    "column": (("p0", "p1", "p2"), (1,)),
    "batch": (("p0", "p1", "p2"), (0,)),
    "vector": (("p2",), ()),
    "ones": (("p0", "p1", "p2"), (0, 1, 2)),
}
UNARY = ("tanh", "abs", "neg", "sigmoid")
BINARY = ("add", "mul", "maximum", "sub")
steps = st.tuples(st.sampled_from(BINARY), st.sampled_from((*SIDES, "scalar")), st.booleans())
chains = st.lists(st.one_of(st.sampled_from(UNARY), steps), max_size=5)


def _drawn(before: list[object], after: list[object], deferred: bool) -> Subgraph:
    """Product, chain, softmax, chain, product; x [b][m][d], k [b][n][d], v [b][n][e]."""
    build = SubgraphBuilder("drawn")
    x, k, v = (
        build.add("parameter", of("f32", *(f"{name}{i}" for i in range(3))), name=name)
        for name in "xkv"
    )
    kt = build.add("transpose", of("f32", "k0", "k2", "k1"), k, order=(0, 2, 1))
    type = of("f32", "x0", "x1", "k1")
    s = build.add("matmul", type, x, kt)
    for index, step in enumerate(before):
        s = _apply(build, s, step, f"a{index}")
    p = build.add("softmax", type, s, dim=-1)
    for index, step in enumerate(after):
        p = _apply(build, p, step, f"c{index}")
    build.result(build.add("matmul", of("f32", "x0", "x1", "v2"), p, v))
    if not deferred:
        build.result(p)
    return build.subgraph()


def _apply(build: SubgraphBuilder, value: str, step: object, prefix: str) -> str:
    type = build.type(value)
    if isinstance(step, str):
        return build.add(step, type, value)
    assert isinstance(step, tuple)
    op, side, swapped = step
    other = _side(build, side, prefix)
    return build.add(op, type, *((other, value) if swapped else (value, other)))


def _side(build: SubgraphBuilder, kind: str, prefix: str) -> str:
    if kind == "scalar":
        return build.add("scalar", of("f32"), name=prefix)
    axes, ones = SIDES[kind]
    type = of("f32", *(axis.replace("p", prefix) for axis in axes))
    if not ones:
        return build.add("parameter", type, name=prefix)
    return build.add("parameter", type, name=prefix, ones=ones)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    before=chains, after=chains, deferred=st.booleans(), sizes=st.sampled_from(SIZES),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_drawn_chains_keep_their_meaning(
    before: list[object], after: list[object], deferred: bool, sizes: dict[str, int], seed: int
) -> None:
    subgraph = _drawn(before, after, deferred)
    verify_positional(subgraph)
    canonical = run_pipeline(PIPELINE, subgraph, verify=verify_between)
    verify_canonical(canonical)
    assert_same_meaning(subgraph, canonical, random_call(subgraph, sizes, seed))
