"""snipjit: attention and linear layers of PyTorch models as fused, shape-agnostic CPU kernels.

``torch.compile(model, backend="snipjit")`` needs no import of this package; ``compile`` builds
standalone programs, ``explain`` shows what is fused and what is not, ``stats`` counts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snipjit.errors import InputError, OptionError, SnipjitError, UnsupportedError
from snipjit.version import __version__

if TYPE_CHECKING:
    from snipjit.frontend.explanation import explain as explain
    from snipjit.frontend.program import Program as Program
    from snipjit.frontend.program import compile as compile
    from snipjit.frontend.report import Report as Report
    from snipjit.frontend.statistics import Stats as Stats
    from snipjit.frontend.statistics import reset_stats as reset_stats
    from snipjit.frontend.statistics import stats as stats
    from snipjit.frontend.torch_backend import backend as backend
    from snipjit.frontend.weights import refresh as refresh

_HOMES = {
    "backend": "frontend.torch_backend",
    "Report": "frontend.report",
    "explain": "frontend.explanation",
    "Program": "frontend.program",
    "compile": "frontend.program",
    "Stats": "frontend.statistics",
    "refresh": "frontend.weights",
    "reset_stats": "frontend.statistics",
    "stats": "frontend.statistics",
}
"""Public names that need torch, imported on first use: the IRs and passes work without it."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'snipjit' has no attribute {name!r}")
    value = getattr(import_module(f"snipjit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "InputError",
    "OptionError",
    "Program",
    "Report",
    "SnipjitError",
    "Stats",
    "UnsupportedError",
    "__version__",
    "backend",
    "compile",
    "explain",
    "refresh",
    "reset_stats",
    "stats",
]
