"""Arguments are bound by place or by name, as in a call of the module."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from snipjit.errors import InputError
from snipjit.frontend.signature import bind, input_names


class Model(torch.nn.Module):
    """Exported with x and z only."""

    def forward(self, x: torch.Tensor, y: Any = None, z: Any = None) -> Any:
        return x + z


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return torch.export.export(Model(), (torch.ones(2),), {"z": torch.ones(2)})


def test_names(program: torch.export.ExportedProgram) -> None:
    assert input_names(program) == (["x"], ["z"])


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {"z": 2}), ((1, 2), {}), ((), {"z": 2, "x": 1})]
)
def test_by_place_and_by_name(
    program: torch.export.ExportedProgram, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    assert bind(program, args, kwargs) == ((1,), {"z": 2})


@pytest.mark.parametrize(
    ("args", "kwargs", "given"),
    [
        ((1,), {}, "1 by place"),
        ((1, 2, 3), {}, "3 by place"),
        ((1,), {"x": 2, "z": 3}, "1 by place, x, z"),
        ((1,), {"q": 2}, "1 by place, q"),
        ((), {}, "none"),
    ],
)
def test_missing_unknown_and_repeated(
    program: torch.export.ExportedProgram, args: tuple[int, ...], kwargs: dict[str, int], given: str
) -> None:
    with pytest.raises(InputError, match=f"takes the inputs x, z; it was given {given}$"):
        bind(program, args, kwargs)
