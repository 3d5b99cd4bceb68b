"""Options: what ``torch.compile(..., options={...})`` and ``snipjit.compile`` accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from snipjit.errors import OptionError
from snipjit.passes import fx
from snipjit.passes.fx.patterns.pattern import Pattern

Rest = Literal["eager", "inductor"]
Weights = Literal["in_place", "prepared"]


@dataclass(frozen=True)
class Options:
    """How a model is compiled.

    rest  who runs the nodes that no kernel stands for: ``"eager"`` PyTorch or ``"inductor"``
    fuse  what becomes kernels, by the names of patterns; None: of all but those on request
    weights  how linear layers read theirs: ``"in_place"`` where they lie, or ``"prepared"``, from
             a second copy in the order of kernels
    """

    rest: Rest = "eager"
    fuse: tuple[str, ...] | None = None
    weights: Weights = "in_place"

    @staticmethod
    def of(options: Mapping[str, Any] | None) -> Options:
        """Check options by name and value; OptionError names what is accepted."""
        if not isinstance(options, Mapping | None):
            raise OptionError(f"options={options!r:.60} is no dict; accepted: {{'rest': ...}}")
        options = dict(options or {})
        known = [field.name for field in fields(Options)]
        for name in options:
            if name not in known:
                raise OptionError(f"unknown option {name!r}; accepted: {', '.join(known)}")
        if "fuse" in options:
            options["fuse"] = _names(options["fuse"])
        result = Options(**options)
        for name, values in (("rest", get_args(Rest)), ("weights", get_args(Weights))):
            if (given := getattr(result, name)) not in values:
                accepted = ", ".join(map(repr, values))
                raise OptionError(f"option {name}={given!r} is not one of {accepted}")
        return result

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns that find what is fused, in their order."""
        if self.fuse is None:
            return fx.PATTERNS
        return tuple(pattern for pattern in _all() if pattern.name in self.fuse)


def _all() -> tuple[Pattern, ...]:
    return (*fx.PATTERNS, *fx.ON_REQUEST)


def _names(value: Any) -> tuple[str, ...] | None:
    """A list of names of patterns, each once."""
    if value is None:
        return None
    known = [pattern.name for pattern in _all()]
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise OptionError(f"option fuse={value!r:.60} is no list; accepted: names of {known}")
    for name in value:
        if name not in known:
            raise OptionError(f"option fuse has {name!r}; accepted: {', '.join(known)}")
    return tuple(name for name in known if name in value)
