"""What the tests of graph passes share."""

from __future__ import annotations

from textwrap import dedent

import pytest

from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.graph import PIPELINE
from tests.subgraphs import ALL

examples = pytest.mark.parametrize("example", ALL)


def before_and_after(kind: type[Pass], example: str) -> tuple[Subgraph, Subgraph]:
    """An example as the pipeline hands it to a pass, and what the pass makes of it."""
    names = [step.name for step in PIPELINE]
    at = names.index(kind.__name__)
    before: Subgraph = run_pipeline(PIPELINE[:at], ALL[example]())
    return before, PIPELINE[at].run(before)


def rewritten(step: Pass, text: str) -> str:
    """What a pass makes of a printed Subgraph, printed."""
    return print_subgraph(step.run(parse_subgraph(text)))


def lines(text: str) -> str:
    """A text without the indentation it has inside a test."""
    return dedent(text).lstrip("\n")
