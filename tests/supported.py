"""Writes docs/SUPPORTED.md from what the tests run: ``python -m tests.supported``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.models import KINDS
from tests.models.case import BOTH, Case
from tests.passes.fx import test_extra_results
from tests.passes.fx.attention_forms import FORMS

PAGE = Path(__file__).parent.parent / "docs" / "SUPPORTED.md"

_HEAD = """\
# Supported forms

Written by `python -m tests.supported` from the forms and models that the tests run; a test fails
where it is out of date. A form is a kind and not a template: other models that write attention of
the same operations, in any order, are fused alike. `snipjit.explain(model, ...)` tells for any
model what is fused and why something is not.
"""

_FORMS = """
## Ways to write attention

Each becomes one kernel, from `torch.compile` with static and dynamic shapes and from exported
programs, and is compared with eager (`tests/passes/fx/test_tokenize_attention.py`).
"""

_RESULTS = """
## Scores and weights that are read elsewhere

Further results of the same kernel (`tests/passes/fx/test_extra_results.py`).
"""

_MODELS = """
## Models

Built from their configurations with random weights and compiled with dynamic shapes. At three
sizes each they give what eager gives and compile once (`tests/test_models.py`). The numbers are
attentions fused in a tiny model, two layers in most, in the library's form of plain operations
(`eager`) and with `F.scaled_dot_product_attention` (`sdpa`); `–` where it has no such form. The
last column says which softmaxes stay outside.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD, _FORMS, _table(("form", "what it is"), _forms())]
    parts += [_RESULTS, _table(("form", "results"), _results()), _MODELS]
    for kind, cases in KINDS.items():
        title = f"\n### {kind}\n"
        rows = [_model(case) for case in sorted(cases, key=lambda case: case.name.lower())]
        parts += [title, _table(("model", "eager", "sdpa", "stays outside"), rows)]
    return "\n".join(parts)


def _forms() -> Iterable[tuple[str, ...]]:
    for form in FORMS:
        yield f"`{form.name}`", _summary(form.function)


def _results() -> Iterable[tuple[str, ...]]:
    for function, count in test_extra_results.FORMS:
        yield function.__name__.replace("_", " "), str(count)


def _model(case: Case) -> tuple[str, ...]:
    counts = [str(case.fused) if name in case.implementations else "–" for name in BOTH]
    return (case.name, *counts, case.refused.what)


def _summary(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
