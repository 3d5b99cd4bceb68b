"""What the fast path of ``nn.TransformerEncoderLayer`` computes, as graph nodes.

Its masks are boolean whatever they come as: an element that is not zero hides, finite or not. A row
that hides all its columns gives NaN, so softmax is written out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import fx

from snipjit.passes.fx.graph.node_writer import NodeWriter
from snipjit.passes.fx.nodes.arguments import Arguments
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import tensor
from snipjit.torch_private import ENCODER_LAYER_OVERLOAD

_PADDING, _FULL = 1, 2
"""The mask types of the fast path: [batch, column], and [batch, head, row, column]."""


def encoder_layer(node: fx.Node, write: NodeWriter, wanted: frozenset[int]) -> dict[int, fx.Node]:
    """The result, by index 0, of one layer of a transformer's encoder."""
    args = Arguments.of_schema(node, ENCODER_LAYER_OVERLOAD)
    source, first = args.floats("src"), args.flag("norm_first")
    _check(args, source)
    inner = _norm(args, write, source, 1) if first else source
    middle = write(torch.add, _attention(args, write, inner), source)
    middle = middle if first else _norm(args, write, middle, 1)
    inner = _norm(args, write, middle, 2) if first else middle
    result = write(torch.add, _feed_forward(args, write, inner), middle)
    return {0: result if first else _norm(args, write, result, 2)}


def _check(args: Arguments, source: fx.Node) -> None:
    shape, embed = tensor(source).shape, args.size("embed_dim")
    if len(shape) != 3 or shape[-1] != embed or embed % args.size("num_heads"):
        raise RefusedError(
            f"`{args.node.name}` has an input of shape {list(shape)}; accepted: batch, length and "
            f"{embed}, which the number of heads divides"
        )


def _norm(args: Arguments, write: NodeWriter, source: fx.Node, number: int) -> fx.Node:
    weight, bias = args.floats(f"norm_weight_{number}"), args.floats(f"norm_bias_{number}")
    return write(F.layer_norm, source, (args.size("embed_dim"),), weight, bias, args.get("eps"))


def _feed_forward(args: Arguments, write: NodeWriter, source: fx.Node) -> fx.Node:
    inner = write(F.linear, source, args.floats("ffn_weight_1"), args.floats("ffn_bias_1"))
    inner = write(F.gelu if args.flag("use_gelu") else F.relu, inner)
    return write(F.linear, inner, args.floats("ffn_weight_2"), args.floats("ffn_bias_2"))


def _attention(args: Arguments, write: NodeWriter, source: fx.Node) -> fx.Node:
    """Self-attention of [batch, length, embed]."""
    heads = args.size("num_heads")
    size = args.size("embed_dim") // heads
    packed = write(F.linear, source, args.floats("qkv_weight"), args.floats("qkv_bias"))
    parts = write("unflatten", packed, -1, (3, heads, size))
    q, k, v = (write("transpose", write("select", parts, 2, i), 1, 2) for i in range(3))
    scaled = write(torch.mul, q, 1 / math.sqrt(size))
    scores = write("matmul", scaled, write("transpose", k, -2, -1))
    if (hidden := _hidden(args, write)) is not None:
        scores = write("masked_fill", scores, hidden, -math.inf)
    weights = write(F.softmax, scores, dim=-1)
    merged = write("flatten", write("transpose", write("matmul", weights, v), 1, 2), 2)
    return write(F.linear, merged, args.floats("proj_weight"), args.floats("proj_bias"))


def _hidden(args: Arguments, write: NodeWriter) -> fx.Node | None:
    """A boolean mask, True where nothing is seen, that broadcasts to the scores."""
    mask = args.optional_tensor("mask")
    if mask is None:
        return None
    rank, kind = tensor(mask).dim(), args.get("mask_type")
    if (rank, kind) not in ((2, _PADDING), (4, _FULL)):
        raise RefusedError(
            f"`{args.node.name}` has a mask of rank {rank} and type {kind}; accepted: "
            "src_key_padding_mask [batch, length] and merged masks of rank 4"
        )
    mask = _narrow(mask)
    if tensor(mask).dtype != torch.bool:
        mask = write(torch.ne, mask, 0)
    return write("unsqueeze", write("unsqueeze", mask, 1), 1) if kind == _PADDING else mask


def _narrow(mask: fx.Node) -> fx.Node:
    """The mask before it was expanded to dims along which it repeats."""
    call = lookup(mask)
    if call is None or call.op != "expand":
        return mask
    source = call.get("input")
    return source if tensor(source).dim() == tensor(mask).dim() else mask
