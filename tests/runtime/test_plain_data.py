"""Tests of ``snipjit/runtime/plain_data.py``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pytest

from snipjit.runtime.plain_data import decode


class Pair(NamedTuple):
    name: str
    number: int


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    pair: Pair | None
    axes: tuple[tuple[str, int | None], ...]
    empty: tuple[int, ...] = ()


GIVEN = Outer((Inner((1, 2)), Inner(())), Pair("x", 3), (("m", None), ("n", 4)))


@pytest.mark.parametrize("value", [GIVEN, Outer((), None, ())], ids=["full", "empty"])
def test_what_json_keeps_comes_back(value: Outer) -> None:
    assert decode(Outer, json.loads(json.dumps(asdict(value)))) == value


@pytest.mark.parametrize(
    "change",
    [
        {"inner": 5},
        {"inner": [{"sizes": [1, "2"]}]},
        {"inner": [{"sizes": [1], "more": 2}]},
        {"inner": [{}]},
        {"pair": ["x"]},
        {"pair": ["x", True]},
        {"axes": [["m", None, 1]]},
        {"axes": [["m", 1.5]]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_other_forms_are_errors(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Outer, json.loads(json.dumps(asdict(GIVEN))) | change)


@pytest.mark.parametrize("value", [None, [], 3, "text"], ids=str)
def test_what_is_no_object_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="fields"):
        decode(Outer, value)
