"""Hand-written attention whose products have other names and arguments than matmul."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.passes.fx.attention_forms import Form, _random, qkv

# In two dims.


def added(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    weights = torch.addmm(input=bias, mat1=q, mat2=k.t(), beta=0.5, alpha=0.3).softmax(-1)
    return bias.new_zeros(v.shape[1]).addmm(weights, v)


def inner(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.inner(input=q, other=k).softmax(-1).inner(other=v.t())


def inner_columns(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.inner(k, q).softmax(0).t() @ v


def inner_of_ranks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries [q, d], keys [b, n, d]: scores [q, b, n]."""
    return q.inner(k).softmax(-1).transpose(0, 1) @ v


def tensordot_number(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    result: Tensor = torch.tensordot(torch.tensordot(q, k.t(), 1).softmax(-1), v, dims=1)
    return result


def tensordot_lists(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    result: Tensor = torch.tensordot(a=q, b=k, dims=([1], [1])).softmax(-1) @ v
    return result


def tensordot_flipped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.tensordot(k, q, dims=((-1,), (-1,))).softmax(0)
    result: Tensor = torch.tensordot(v, weights, dims=[[0], [0]]).t()
    return result


def tensordot_of_two_dims(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k = q.view(q.shape[0], 2, 4), k.view(k.shape[0], 2, 4)
    result: Tensor = torch.tensordot(q, k, dims=([1, 2], [1, 2])).softmax(-1) @ v
    return result


# With vectors.


def vector(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.matmul((k @ q * 0.3).softmax(-1), v)


def vector_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return v.t() @ torch.matmul(q, other=k.t()).softmax(dim=0)


def vector_methods(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    weights = torch.mv(k, vec=q).masked_fill(hidden, -1e9).softmax(-1)
    return v.t().mv(weights)


def vector_of_a_batch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((k @ q).softmax(-1)[:, None] @ v).squeeze(1)


# In several.


def linalg_matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.linalg.matmul(q, other=k.mT).softmax(-1)
    result: Tensor = torch.linalg.matmul(input=weights, other=v)
    return result


def sublists(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum(q, [0, 1, 30, 3], k, [0, 1, 51, 3], [0, 1, 30, 51]).softmax(-1)
    return torch.einsum(weights, (0, 1, 2, 3), v, (0, 1, 3, 4), (0, 2, 1, 4)).flatten(2)


def sublists_of_the_transpose(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum(q, [..., 2, 3], k, [..., 4, 3], [..., 4, 2]).softmax(-2)
    return torch.einsum(weights, [..., 3, 2], v, [..., 3, 4], [..., 2, 4])


def sublists_without_a_result(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum(q, [..., 2, 3], k, [..., 4, 3]).softmax(-1)
    return torch.einsum(weights, [..., 2, 3], v, [..., 3, 4])


def _flat() -> tuple[Tensor, ...]:
    return _random(7, 8), _random(9, 8), _random(9, 8) + 0.1


def _ranks() -> tuple[Tensor, ...]:
    return _random(7, 8), _random(2, 9, 8), _random(2, 9, 8) + 0.1


def _vectors() -> tuple[Tensor, ...]:
    return _random(8), _random(9, 8), _random(9, 8) + 0.1


def _hidden() -> tuple[Tensor, ...]:
    return *_vectors(), _random(9) > 0.5


_ALL = ("matmul", "softmax", "matmul")

PRODUCT_FORMS = (
    Form("added", added, lambda: (*_flat(), _random(7, 9)), ("matmul", "mul", "add", *_ALL[1:])),
    Form("inner", inner, _flat, _ALL),
    Form("inner_columns", inner_columns, _flat, _ALL),
    Form("inner_of_ranks", inner_of_ranks, _ranks, _ALL),
    Form("tensordot_number", tensordot_number, _flat, _ALL),
    Form("tensordot_lists", tensordot_lists, _flat, _ALL),
    Form("tensordot_flipped", tensordot_flipped, _flat, _ALL),
    Form("tensordot_of_two_dims", tensordot_of_two_dims, _flat, _ALL),
    Form("vector", vector, _vectors, ("matmul", "mul", "softmax", "matmul")),
    Form("vector_first", vector_first, _vectors, _ALL),
    Form("vector_methods", vector_methods, _hidden, _ALL),
    Form("vector_of_a_batch", vector_of_a_batch, lambda: (_random(8), *_ranks()[1:]), _ALL),
    Form("linalg_matmul", linalg_matmul, qkv, _ALL),
    Form("sublists", sublists, qkv, _ALL),
    Form("sublists_of_the_transpose", sublists_of_the_transpose, qkv, _ALL),
    Form("sublists_without_a_result", sublists_without_a_result, qkv, _ALL),
)
