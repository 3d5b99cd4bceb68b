"""Recompilations: why Dynamo hands over another graph of a function, and what to do about it."""

from __future__ import annotations

import logging
import re
import warnings

from snipjit.frontend.statistics import record_graph
from snipjit.torch_private import recompile_reason

log = logging.getLogger(__name__)

ADVICE = (
    (
        r"size mismatch(?!.*(expected|actual) 1\b)",
        "torch.compile(..., dynamic=True) makes one graph for all sizes",
    ),
    (
        r"dispatch key|requires_grad|grad_?mode|inference_?mode",
        "call the model in one mode, such as torch.inference_mode(), from its first call on",
    ),
    (
        r"GLOBAL_STATE|global_state",
        "set torch's state (threads, autocast) before the first call, and keep it",
    ),
    (
        r"== -?\d+\.\d+",
        "a number is built into the graph: pass a tensor where it changes",
    ),
)
"""What a cause looks like in Dynamo's words, and what helps; of sizes of 1 nothing does."""

_told: set[str] = set()


def note_graph() -> None:
    """Count the graph that Dynamo has handed over; explain the first recompilation of a kind."""
    cause = _readable(recompile_reason())
    record_graph(cause)
    if cause is None:
        return
    log.info("compiled again: %s", cause)
    advice = advice_for(cause)
    if advice is not None and advice not in _told:
        _told.add(advice)
        warnings.warn(
            f"Dynamo compiles a function for snipjit again ({cause}): {advice}. "
            "snipjit.stats() counts further ones",
            stacklevel=3,
        )


def advice_for(cause: str) -> str | None:
    """What to set so that a cause does not occur; None where nothing is known."""
    return next(
        (text for pattern, text in ADVICE if re.search(pattern, cause, re.IGNORECASE)), None
    )


def _readable(reason: str | None) -> str | None:
    """A cause without the number of the graph and the code around, and inputs by their names."""
    if not reason:
        return None
    text = re.sub(r"^\d+/\d+: *", "", reason.strip().splitlines()[0]).partition("  #")[0]
    return re.sub(r"L\['(\w+)'\]", r"\1", text)
