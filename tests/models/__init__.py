"""Models of transformers and diffusers from their configurations, tiny, with random weights."""

from __future__ import annotations

from tests.models import decoders, diffusion, encoder_decoders, speech, text_encoders, vision
from tests.models.case import Case

KINDS: dict[str, tuple[Case, ...]] = {
    "Text encoders": text_encoders.CASES,
    "Decoders": decoders.CASES,
    "Encoders with decoders": encoder_decoders.CASES,
    "Vision": vision.CASES,
    "Speech and music": speech.CASES,
    "Diffusion": diffusion.CASES,
}

CASES: tuple[Case, ...] = tuple(case for cases in KINDS.values() for case in cases)


def named(name: str) -> Case:
    """The case of a model."""
    return next(case for case in CASES if case.name == name)
