"""What the tests of graph passes share."""

from __future__ import annotations

from textwrap import dedent

import pytest

from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.subgraph import Subgraph
from snipjit.text_subgraph import parse_subgraph, print_subgraph
from snipjit.verify_subgraph import verify_between
from tests.subgraph_calls import SIZES, assert_same_meaning, random_call
from tests.subgraphs import ALL

examples = pytest.mark.parametrize("example", ALL)


def before_and_after(kind: type[Pass], example: str) -> tuple[Subgraph, Subgraph]:
    """An example as the pipeline hands it to a pass, and what the pass makes of it."""
    names = [step.name for step in PIPELINE]
    at = names.index(kind.__name__)
    before: Subgraph = run_pipeline(PIPELINE[:at], ALL[example]())
    return before, PIPELINE[at].run(before)


def check_pass(kind: type[Pass], example: str) -> None:
    """The pass keeps the meaning of an example at several sizes, and the rules of the IR."""
    before, after = before_and_after(kind, example)
    verify_between(after)
    for seed, sizes in enumerate(SIZES):
        assert_same_meaning(before, after, random_call(ALL[example](), sizes, seed))
    again = kind().run(after)
    assert {node.op for node in again.nodes} == {node.op for node in after.nodes}


def rewritten(step: Pass, text: str) -> str:
    """What a pass makes of a printed Subgraph, printed."""
    return print_subgraph(step.run(parse_subgraph(text)))


def lines(text: str) -> str:
    """A text without the indentation it has inside a test."""
    return dedent(text).lstrip("\n")
