"""Real models from their configurations: how many attentions are found, and that they are equal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from snipjit.text_subgraph import print_subgraph
from tests.passes.fx.support import Capture, assert_equal_to_eager, dynamo, exported

transformers = pytest.importorskip("transformers")

HIDDEN = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4}
SMALL = {**HIDDEN, "vocab_size": 100, "num_hidden_layers": 2}
GROUPED = {**SMALL, "num_key_value_heads": 2}


@dataclass(frozen=True)
class Case:
    """A model, its configuration, and what is to be found in it."""

    name: str
    config: dict[str, Any]
    inputs: Callable[[], dict[str, Any]]
    candidates: int = 2
    implementations: tuple[str, ...] = ("eager", "sdpa")


def _text() -> dict[str, Any]:
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[0, 5:] = 0
    return {"input_ids": torch.arange(14).view(2, 7), "attention_mask": mask}


def _decoder() -> dict[str, Any]:
    return {**_text(), "use_cache": False}


def _pair() -> dict[str, Any]:
    return {**_decoder(), "decoder_input_ids": torch.arange(10).view(2, 5)}


def _image() -> dict[str, Any]:
    return {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)}


_T5 = {"vocab_size": 100, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_GPT2 = {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4}
_VIT = {**HIDDEN, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
_BLOOM = {"vocab_size": 100, "hidden_size": 64, "n_layer": 2, "n_head": 4}
_OPT = {"ffn_dim": 64, "max_position_embeddings": 64, "word_embed_proj_dim": 64}

CASES = (
    Case("Bert", SMALL, _text),
    Case("GPT2", _GPT2, _decoder),
    Case("Llama", GROUPED, _decoder),
    Case("ViT", _VIT, _image),
    Case("T5", _T5, _pair, candidates=6),
    Case("Gemma2", {**GROUPED, "head_dim": 16}, _decoder, implementations=("eager",)),
    Case("Bloom", _BLOOM, _decoder, implementations=("eager",)),
    Case("OPT", {**SMALL, **_OPT}, _decoder, implementations=("eager",)),
)

cases = pytest.mark.parametrize(
    ("case", "implementation"),
    [(case, name) for case in CASES for name in case.implementations],
    ids=lambda value: getattr(value, "name", value),
)


def _model(case: Case, implementation: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{case.name}Config")(**case.config)
    config._attn_implementation = implementation
    model: torch.nn.Module = getattr(transformers, f"{case.name}Model")(config)
    return model.eval()


@cache
def _traced(name: str, implementation: str) -> Capture:
    """What Dynamo makes of a model, traced once for all tests."""
    case = next(case for case in CASES if case.name == name)
    (capture,) = dynamo(_model(case, implementation), **case.inputs())
    return capture


@cases
def test_dynamo(case: Case, implementation: str) -> None:
    capture = _traced(case.name, implementation)
    tokens = capture.tokens
    assert len(tokens.candidates) == case.candidates, tokens.refusals
    assert not tokens.refusals
    assert_equal_to_eager(capture)
    # Encoder, decoder and cross attention of T5 meet different masks in SDPA form.
    distinct = {print_subgraph(candidate.subgraph) for candidate in tokens.candidates}
    assert len(distinct) <= (2 if (case.name, implementation) == ("T5", "sdpa") else 1)


@pytest.mark.parametrize("name", ["Bert", "GPT2", "Llama", "ViT"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_exported(name: str, implementation: str) -> None:
    case = next(case for case in CASES if case.name == name)
    model = _model(case, implementation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        capture = exported(model, (), case.inputs())
    assert len(capture.tokens.candidates) == case.candidates, capture.tokens.refusals
    assert_equal_to_eager(capture)
    if name == "ViT":
        return  # exported without Dynamo, transformers writes a mask that hides nothing
    traced = _traced(name, implementation)
    ours, theirs = (c.tokens.candidates[0].subgraph for c in (capture, traced))
    assert print_subgraph(ours) == print_subgraph(theirs)
