"""What is read before a write in place, and used after it: kernels read what eager reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

Function = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

pytestmark = pytest.mark.usefixtures("fresh")


@torch.library.custom_op("snipjit_tests::put", mutates_args={"cache"})
def put(x: Tensor, cache: Tensor) -> None:
    """Writes to its second argument."""
    cache.add_(x.sum())


def counted(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    found = F.embedding(ids, table) + places
    ids.add_(1)
    return F.layer_norm(found, (16,), weight)


def table_changed(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    found = table.index_select(0, ids) + places
    table.mul_(2)
    return F.layer_norm(found, (16,), weight)


def rows_of_a_table_set(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    found = F.embedding(ids, table) + places
    table[0:20] = 0
    return F.layer_norm(found, (16,), weight)


def operand_changed(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    total = places + table[:9]
    table.mul_(2)
    return F.layer_norm(total, (16,), weight)


def root_mean_square_of_changed(
    ids: Tensor, table: Tensor, places: Tensor, weight: Tensor
) -> Tensor:
    total = places + table[:9]
    places.mul_(2)
    return total * (total.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


def by_an_operation(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    found = torch.tanh(places) * 2
    put(weight, places)
    return torch.sigmoid(found) + 1


def of_a_list(ids: Tensor, table: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    found = torch.tanh(places) * 2
    torch._foreach_mul_([places], 3.0)
    return torch.sigmoid(found) + 1


def bias_changed_by_an_operation(
    ids: Tensor, table: Tensor, places: Tensor, weight: Tensor
) -> Tensor:
    bias = (table.view(-1)[: 9 * 9 * 4].view(9, 9, 4) * 2).permute(2, 0, 1)
    q = places.expand(1, 4, 9, 16)
    first = F.scaled_dot_product_attention(q, q, q, bias)
    put(weight, bias)
    return F.scaled_dot_product_attention(first, q, q, bias)


FUNCTIONS = (
    counted,
    table_changed,
    rows_of_a_table_set,
    operand_changed,
    root_mean_square_of_changed,
    by_an_operation,
    of_a_list,
    bias_changed_by_an_operation,
)


def _inputs() -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    ids = torch.randint(0, 30, (9,))
    return ids, torch.randn(40, 16), torch.randn(9, 16), torch.randn(16)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_reads_are_those_of_eager(function: Function) -> None:
    wanted, given = _inputs(), _inputs()
    with torch.no_grad():
        expected = function(*wanted)
        found = torch.compile(function, backend="snipjit")(*given)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(given, wanted, atol=0, rtol=0)
