"""Writes docs/SUPPORTED.md from what the tests run: ``python -m tests.supported``."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import fill
from types import ModuleType

from tests import (
    dequantized_forms,
    elementwise_forms,
    embedding_forms,
    linear_forms,
    normalization_forms,
    rotary_forms,
)
from tests.linear_forms import Form
from tests.linear_stays import ENDS, STAYS
from tests.models import KINDS
from tests.models.case import BOTH, Case
from tests.passes.fx import test_extra_results
from tests.passes.fx.attention_forms import FORMS

PAGE = Path(__file__).parent.parent / "docs" / "SUPPORTED.md"

_HEAD = """\
# Supported forms

Written by `python -m tests.supported` from the forms and models that the tests run; a test fails
where it is out of date. A form is a kind and not a template: other models that write attention,
linear layers or normalizations of the same operations, in any order, are fused alike.
`snipjit.explain(model, ...)` tells for any model what is fused and why something is not; the option
`fuse` says what is looked for.
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

_LINEAR = """
## Linear layers

A linear layer is a product with a matrix that the model holds, or is given, with sizes that are
known, in float32, bfloat16 and float16 (`tests/test_linear_forms.py`, `test_linear_in_16_bits.py`).
Here `m.a`, `m.b`, … are `nn.Linear`, `m.w`, … are parameters, and L a length that changes. Each
form is compiled with dynamic and static shapes and from exported programs, and compared with
float64; results have the shape and the strides that eager gives them.

* Behind the product the same kernel computes biases, elementwise functions and sums with other
  tensors (residuals), up to the first value that anything else reads; views, transposes and splits
  of heads cost nothing.
* Layers of one input that are as wide become one kernel: queries, keys and values, or a gate and
  what it gates. Of others each is a kernel of its own.
* Weights are read where they lie, at every call: whatever changes them between calls is seen, and
  tied weights need nothing.
"""

_NOTES = {
    "Convolutions": """
Those of one tap multiply each position by a matrix: kernel and stride 1, one group, no padding.
They are taken on request, by `options={"fuse": ["attention", "linear", "convolution"]}`: oneDNN is
faster where channels lie last, and as fast elsewhere.
""",
    "Stacked": """
Several weights in one tensor of the model, as experts have them, by `bmm` and its like.
""",
}
"""What is said above the tables of some forms."""

_DEQUANTIZED = """
### Weights of 8 bits

Weights of int8, uint8, float8_e4m3fn or float8_e5m2 that the model makes wider floats of, with
scales and zeros of the tensor, of a channel or of a group of columns: kernels convert them as they
load, and no wider weight is ever in memory (`tests/test_dequantized_weights.py`). They are known by
the operations alone, also by `quantized_decomposed.dequantize_per_tensor`, `_per_channel` and
`_per_channel_group` of exported programs. Keys and values in floats of 8 bits that attention casts,
and such operands of elementwise functions, are converted so too (`tests/test_float8.py`); casts to
them stay with PyTorch.

Here `m.w` are 8-bit numbers `[n][k]`, `m.s1`, `m.s`, `m.sg` scales of tensor, channel and
group, `m.z1`, `m.z`, `m.zg` zeros, and `per_group` gives `((w - z) * s)` in groups.
"""

_NEAR = """
What is near to one is refused by name, and PyTorch computes it:
"""

_STAYS = """
### What stays

With PyTorch, and why. A reason that `explain` lists is quoted; without one, nothing is taken for a
linear layer (`tests/test_linear_stays.py`). So do weights that are subclasses of `torch.Tensor`
(quantized, distributed), and layers that need gradients: call the model under `torch.no_grad()` or
`torch.inference_mode()`.
"""

_ENDS = """
### Where a chain ends

The layer becomes a kernel; from here on everything runs as before.
"""

_ELEMENTWISE = """
## Chains of elementwise operations

Two or more that stand between everything else become one pass over memory
(`tests/test_elementwise_chains.py`), with broadcasts and with several results of one shape. Rotary
embeddings whose halves change places are among them (`tests/test_rotary.py`); queries and keys are
one kernel where they share cosines and sines that are unsqueezed for them alone.

With PyTorch stay: one operation alone; two on so few elements that a call costs more, where sizes
are known; whole numbers, numbers at random and complex numbers; what joins neighbours in pairs (as
GPT-J does); features whose number is not known, of rotary embeddings; what is written in place.

Forms that are tested:
"""

_NORMALIZATIONS = """
## Normalizations

One pass over memory each, with statistics in float32 (`tests/test_normalizations.py`): LayerNorm,
RMSNorm, GroupNorm, `F.normalize`, log_softmax and softmax, by their names or written out as a
statistic over some dims (mean, variance, standard deviation, norm, sum, maximum) that comes back to
the elements it was made of. The same kernel computes the residual sums in front, which others may
read too, and elementwise functions behind (weights, modulation, activations, casts). Masked mean
pooling, a sum or mean over rows of what a mask or a gate multiplies, is one too.

With PyTorch stay: softmax without anything elementwise around it, which is as fast there; GroupNorm
on images without anything elementwise around it, whose channels lie innermost (`channels_last`), or
with unknown sizes that are no neighbours; rows of one element; tensors without elements.

Forms that are tested:
"""

_EMBEDDINGS = """
## Embeddings

`F.embedding`, `nn.Embedding` and `index_select` are read where they are summed, scaled or
normalized, by the kernel that does it (`tests/test_embeddings.py`): indices, of 32 or 64 bits and
in any layout, become parts of addresses, and nothing is copied. All of them are looked through
before anything is read; one that is out of range is eager's `IndexError`.

With PyTorch stay: one that nothing is computed of, or a single operation alone; `max_norm`,
`sparse` and `scale_grad_by_freq`; tables whose innermost dim is not dense, that are computed in the
same kernel, or that need gradients.

Forms that are tested:
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
    parts += [_RESULTS, _table(("form", "results"), _results()), _LINEAR]
    for title, forms in _groups().items():
        parts += [
            f"### {title}\n{_NOTES.get(title, '')}",
            _table(("form", "as written", "x", "kernels"), _layers(forms)),
        ]
    parts += [_DEQUANTIZED, _table(("form", "as written"), _dequantized()), _NEAR]
    parts += [_table(("form", "as written", "what `explain` says"), _near()), _STAYS]
    parts += [_table(("form", "why", "what `explain` says"), _stays())]
    parts += [_ENDS, _table(("form", "why"), _ends()), _NORMALIZATIONS]
    chains = (*elementwise_forms.CHAINS, *(f"rotary, {name}" for name in rotary_forms.ROTARIES))
    parts += [fill("; ".join(normalization_forms.FORMS) + ".", 100), _ELEMENTWISE]
    embeddings = [name for name, form in embedding_forms.FORMS.items() if form.kernels]
    parts += [fill("; ".join(chains) + ".", 100), _EMBEDDINGS]
    parts += [fill("; ".join(embeddings) + ".", 100), _MODELS]
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


def _groups() -> dict[str, dict[str, Form]]:
    """The forms of linear layers by kind: each table of their module under its name."""
    tables = {name: table for name, table in vars(linear_forms).items() if isinstance(table, dict)}
    groups = {
        name.capitalize(): table
        for name, table in tables.items()
        if name.isupper() and name != "FORMS"
    }
    assert {form for table in groups.values() for form in table} == {*linear_forms.FORMS}
    return groups


def _layers(forms: dict[str, Form]) -> Iterable[tuple[str, ...]]:
    for name, form in forms.items():
        sizes = ", ".join(map(str, form.shape))
        yield name, f"`{_source(form.function)}`", f"[{sizes}]", str(form.kernels)


def _dequantized() -> Iterable[tuple[str, ...]]:
    for name, function in dequantized_forms.FORMS.items():
        yield name, f"`{_source(function, dequantized_forms)}`"


def _near() -> Iterable[tuple[str, ...]]:
    for name, near in dequantized_forms.NEAR.items():
        yield name, f"`{_source(near.function, dequantized_forms)}`", f"… {near.reason} …"


def _source(function: Callable[..., object], module: ModuleType = linear_forms) -> str:
    """What a function of parts and an input computes, in one line."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        line, args = getattr(node, "lineno", 0), [arg.arg for arg in _arguments(node)]
        if line != function.__code__.co_firstlineno or args != ["m", "x"]:
            continue
        if isinstance(node, ast.Lambda):
            return ast.unparse(node.body)
        if isinstance(node, ast.FunctionDef):
            return "; ".join(ast.unparse(_plain(statement)) for statement in node.body)
    raise AssertionError(f"{function} is not of {module.__name__}")


def _arguments(node: ast.AST) -> list[ast.arg]:
    return node.args.args if isinstance(node, ast.Lambda | ast.FunctionDef) else []


def _plain(statement: ast.stmt) -> ast.AST:
    """A statement without what only types need."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.Assign([statement.target], statement.value, lineno=statement.lineno)
    return statement


def _stays() -> Iterable[tuple[str, ...]]:
    for name, stay in STAYS.items():
        yield name, stay.why, f"… {stay.reason}" if stay.reason else ""


def _ends() -> Iterable[tuple[str, ...]]:
    for name, stay in ENDS.items():
        yield name, stay.why


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
