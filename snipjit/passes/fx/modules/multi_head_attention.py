"""What ``F.multi_head_attention_forward`` computes, as graph nodes.

The heads stay a dim of their own and masks keep the dims they came with, where PyTorch folds heads
into the batch and repeats the masks: the same numbers from fewer copies, and no size is needed.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx

from snipjit.passes.fx.graph.node_writer import NodeWriter
from snipjit.passes.fx.nodes.arguments import Arguments
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import tensor

_HEADS_OUT, _HEADS_IN = (1, 2, 0, 3), (2, 0, 1, 3)
"""[length, batch, head, size] to [batch, head, length, size], and back."""


@dataclass(frozen=True)
class _Operands:
    """Projected query, key and value, each [batch, head, length, size]."""

    query: fx.Node
    key: fx.Node
    value: fx.Node


def multi_head_attention(
    node: fx.Node, write: NodeWriter, wanted: frozenset[int]
) -> dict[int, fx.Node]:
    """The results of a call by index: 0 the output, 1 the weights if they are in ``wanted``."""
    args = Arguments.of_function(node, F.multi_head_attention_forward)
    _check(args)
    batched = tensor(args.floats("query")).dim() == 3
    operands = _operands(args, write, batched)
    attn_mask, padding = _masks(args, write, batched)
    if args.flag("need_weights"):
        weights = _weights(write, operands, [attn_mask, padding])
        heads = write("matmul", weights, operands.value)
    else:
        weights, causal = None, args.flag("is_causal") and padding is None
        mask = None if causal else _merged(write, attn_mask, padding)
        inputs = (operands.query, operands.key, operands.value)
        heads = write(F.scaled_dot_product_attention, *inputs, attn_mask=mask, is_causal=causal)
    found = {0: _output(args, write, heads, batched)}
    if weights is not None and 1 in wanted:
        found[1] = _returned(args, write, weights, batched)
    return found


def _check(args: Arguments) -> None:
    name = args.node.name
    if args.flag("training") and not args.is_zero("dropout_p"):
        raise RefusedError(f"`{name}` drops weights in training; accepted: eval() or dropout=0")
    for static in ("static_k", "static_v"):
        if args.get(static) is not None:
            raise RefusedError(f"`{name}` has a {static}; accepted: keys and values to project")
    if args.size("embed_dim_to_check") % args.size("num_heads"):
        raise RefusedError(f"`{name}` has an embed_dim that num_heads does not divide")


def _operands(args: Arguments, write: NodeWriter, batched: bool) -> _Operands:
    query, key, value = (args.floats(name) for name in ("query", "key", "value"))
    inputs: dict[fx.Node, fx.Node] = {}
    for source in (query, key, value):
        # One node for one source: packed projections ask whether two are the same.
        if source not in inputs:
            inputs[source] = source if batched else write("unsqueeze", source, 1)
    query, key, value = inputs[query], inputs[key], inputs[value]
    if args.flag("use_separate_proj_weight"):
        projected = _separate(args, write, (query, key, value))
    else:
        projected = _packed(args, write, (query, key, value))
    q, k, v = projected
    k, v = (_with_bias(args, write, of, name) for of, name in ((k, "bias_k"), (v, "bias_v")))
    q, k, v = (write("permute", of, *_HEADS_OUT) for of in (q, k, v))
    if args.flag("add_zero_attn"):
        k, v = (write(F.pad, of, (0, 0, 0, 1)) for of in (k, v))
    return _Operands(q, k, v)


def _packed(
    args: Arguments, write: NodeWriter, inputs: tuple[fx.Node, ...]
) -> tuple[fx.Node, fx.Node, fx.Node]:
    """Projections by the three parts of one weight; equal inputs are projected at once."""
    query, key, value = inputs
    counts = [1, 1, 1]
    if key is value:
        counts = [3] if query is key else [1, 2]
    weight, bias = args.floats("in_proj_weight"), args.optional_floats("in_proj_bias")
    found: list[fx.Node] = []
    embed = args.size("embed_dim_to_check")
    for source, count in zip((query, key, value), counts, strict=False):
        part = slice(len(found) * embed, (len(found) + count) * embed)
        whole = count == 3
        own = weight if whole else write(operator.getitem, weight, part)
        offset = bias if whole or bias is None else write(operator.getitem, bias, part)
        found += _projected(args, write, source, own, offset, count)
    q, k, v = found
    return q, k, v


def _separate(
    args: Arguments, write: NodeWriter, inputs: tuple[fx.Node, ...]
) -> tuple[fx.Node, fx.Node, fx.Node]:
    """Projections by a weight each: keys and values may have other sizes than queries."""
    bias, embed = args.optional_floats("in_proj_bias"), args.size("embed_dim_to_check")
    found: list[fx.Node] = []
    for index, (source, letter) in enumerate(zip(inputs, "qkv", strict=True)):
        weight = args.floats(f"{letter}_proj_weight")
        part = slice(index * embed, (index + 1) * embed)
        offset = bias if bias is None else write(operator.getitem, bias, part)
        found += _projected(args, write, source, weight, offset, 1)
    q, k, v = found
    return q, k, v


def _projected(
    args: Arguments,
    write: NodeWriter,
    source: fx.Node,
    weight: fx.Node,
    bias: fx.Node | None,
    count: int,
) -> list[fx.Node]:
    """``count`` projections of one input by one product, each [length, batch, head, size]."""
    heads = args.size("num_heads")
    size = args.size("embed_dim_to_check") // heads
    product = write(F.linear, source, weight, bias)
    if count == 1:
        return [write("unflatten", product, -1, (heads, size))]
    parts = write("unflatten", product, -1, (count, heads, size))
    return [write("select", parts, 2, index) for index in range(count)]


def _with_bias(args: Arguments, write: NodeWriter, source: fx.Node, name: str) -> fx.Node:
    """Keys or values [length, batch, head, size] with one more, learnt row."""
    bias = args.optional_floats(name)
    if bias is None:
        return source
    heads = args.size("num_heads")
    size = args.size("embed_dim_to_check") // heads
    batch = write("size", source, 1)
    row = write("unflatten", bias, -1, (heads, size))
    repeated = write("expand", row, -1, batch, -1, -1)
    return write(torch.cat, [source, repeated])


def _masks(
    args: Arguments, write: NodeWriter, batched: bool
) -> tuple[fx.Node | None, fx.Node | None]:
    """What is added to the scores, in dims that broadcast to [batch, head, row, column]."""
    rows = (args.get("bias_k") is not None) + args.flag("add_zero_attn")
    attn_mask = _mask(write, args.optional_tensor("attn_mask"), rows)
    padding = _mask(write, args.optional_tensor("key_padding_mask"), rows)
    if attn_mask is not None and tensor(attn_mask).dim() == 3:
        attn_mask = write("unflatten", attn_mask, 0, (-1, args.size("num_heads")))
    if padding is not None:
        padding = padding if batched else write("unsqueeze", padding, 0)
        padding = write("unsqueeze", write("unsqueeze", padding, 1), 1)
    return attn_mask, padding


def _mask(write: NodeWriter, mask: fx.Node | None, rows: int) -> fx.Node | None:
    """A mask as floats, with ``rows`` columns that hide nothing."""
    if mask is None:
        return None
    if tensor(mask).dtype == torch.bool:
        zeros = write(torch.zeros_like, mask, dtype=torch.float32)
        mask = write("masked_fill", zeros, mask, -math.inf)
    return write(F.pad, mask, (0, rows)) if rows else mask


def _merged(
    write: NodeWriter, attn_mask: fx.Node | None, padding: fx.Node | None
) -> fx.Node | None:
    if attn_mask is None or padding is None:
        return padding if attn_mask is None else attn_mask
    return write(torch.add, attn_mask, padding)


def _weights(write: NodeWriter, operands: _Operands, masks: list[fx.Node | None]) -> fx.Node:
    """The probabilities [batch, head, row, column], written out as PyTorch does."""
    size = int(tensor(operands.query).shape[-1])
    scaled = write(torch.mul, operands.query, math.sqrt(1.0 / size))
    scores = write("matmul", scaled, write("transpose", operands.key, -2, -1))
    for mask in masks:
        scores = scores if mask is None else write(torch.add, scores, mask)
    return write(F.softmax, scores, dim=-1)


def _output(args: Arguments, write: NodeWriter, heads: fx.Node, batched: bool) -> fx.Node:
    merged = write("flatten", write("permute", heads, *_HEADS_IN), 2)
    weight, bias = args.floats("out_proj_weight"), args.optional_floats("out_proj_bias")
    output = write(F.linear, merged, weight, bias)
    return output if batched else write("squeeze", output, 1)


def _returned(args: Arguments, write: NodeWriter, weights: fx.Node, batched: bool) -> fx.Node:
    """The weights as the call returns them: of each head, or their mean."""
    if args.flag("average_attn_weights"):
        weights = write("mean", weights, dim=1)
    return weights if batched else write("squeeze", weights, 0)
