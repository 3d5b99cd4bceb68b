"""Random inputs: sizes from the export, indices that the tables have, and seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.export import Dim, ExportedProgram

from snipjit.cli.random_inputs import random_inputs
from snipjit.errors import InputError, OptionError
from snipjit.frontend.size_names import dynamic_sizes, symbol_names
from tests.exported_models import tiny_attention


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    return tiny_attention()


def test_exported_sizes_by_default(program: ExportedProgram) -> None:
    (ids, mask), kwargs = random_inputs(program)
    assert ids.shape == mask.shape == kwargs["kinds"].shape == (2, 7)
    assert list(dynamic_sizes(program).values()) == ["1..64", "2..512"]


def test_indices_stay_inside_their_tables(program: ExportedProgram) -> None:
    (ids, _), kwargs = random_inputs(program, {"ids.0": 64, "ids.1": 100})
    assert (int(ids.min()), int(ids.max())) == (0, 99)
    assert (int(kwargs["kinds"].min()), int(kwargs["kinds"].max())) == (0, 2)
    assert program.module()(ids, torch.zeros(64, 100), **kwargs).shape == (64, 100, 64)


def test_sizes_by_symbol(program: ExportedProgram) -> None:
    batch, length = map(str, symbol_names(program))
    (ids, mask), _ = random_inputs(program, {batch: 3, length: 11})
    assert ids.shape == mask.shape == (3, 11)


def test_seed_decides(program: ExportedProgram) -> None:
    first, again, other = (random_inputs(program, seed=seed)[0][1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_unknown_name_and_size_out_of_range(program: ExportedProgram) -> None:
    with pytest.raises(
        OptionError, match=r"no dynamic size is called 'ids\.5'; there are: .*ids\.1"
    ):
        random_inputs(program, {"ids.5": 3})
    with pytest.raises(OptionError, match=r"size ids\.1=1 is outside 2\.\.512"):
        random_inputs(program, {"ids.1": 1})
    with pytest.raises(OptionError, match=r"size mask\.0=65 is outside 1\.\.64"):
        random_inputs(program, {"mask.0": 65})


class Plain(torch.nn.Module):
    """Takes what is no tensor, and passes it on."""

    def forward(self, x: torch.Tensor, n: int, flag: bool, rest: Any = None) -> torch.Tensor:
        return x[0] * n if flag else x[0]


def test_other_inputs_are_those_of_the_export() -> None:
    args = (torch.ones(4), 3, True, [torch.ones(2), None])
    program = torch.export.export(Plain(), args)
    assert dynamic_sizes(program) == {}
    (x, n, flag, rest), kwargs = random_inputs(program)
    assert (x.shape, n, flag, kwargs) == ((4,), 3, True, {})
    assert rest[0].shape == (2,)
    assert rest[1] is None
    with pytest.raises(OptionError, match="every size is fixed"):
        random_inputs(program, {"x.0": 3})


class Doubled(torch.nn.Module):
    """The second input is twice as long as the first."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x]) + y


def test_derived_sizes_follow() -> None:
    size = Dim("size")
    program = torch.export.export(
        Doubled(), (torch.ones(4), torch.ones(8)), dynamic_shapes=({0: size}, {0: 2 * size})
    )
    (x, y), _ = random_inputs(program, {"x.0": 3})
    assert (x.shape, y.shape) == ((3,), (6,))
    assert list(dynamic_sizes(program).values()) == ["0.."]


def test_complex_inputs_are_refused() -> None:
    program = torch.export.export(Plain(), (torch.ones(2, dtype=torch.complex64), 1, True))
    with pytest.raises(InputError, match="give the inputs in a file"):
        random_inputs(program)
