"""The op table: every spelling of every op that tokenization understands, one row each.

A row lists functions, Tensor methods, operators and ATen overloads that mean one canonical op and
take their arguments under the same names. ``names`` stands for what is called the same everywhere:
``torch.add``, ``Tensor.add``, ``Tensor.add_``, ``aten.add.*``, ``aten.add_.*``. Canonical ops are
those of ``ir/operations.py``, the composed functions of ``expand_elementwise.py`` (the rows of both
are in ``pointwise_rows.py``), and the layouts, products, reductions and whole attention calls of
``lifter.py``.
"""

from __future__ import annotations

import builtins
import operator as op
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from snipjit.passes.fx.nodes.op_row import Row, Spelling
from snipjit.passes.fx.nodes.pointwise_rows import POINTWISE
from snipjit.passes.fx.nodes.written import written
from snipjit.torch_private import PAD

_ONE, _TWO = "input", "input other"
_MATMUL = (op.matmul, "__matmul__", torch.linalg.matmul)
_EMBEDDING = "input weight padding_idx max_norm norm_type scale_grad_by_freq sparse"
_ATEN_EMBEDDING = "weight indices padding_idx scale_grad_by_freq sparse"
_CONVOLUTION = "input weight bias stride padding dilation groups"
_TRANSPOSABLE = "input weight bias stride padding dilation transposed output_padding groups"
_NORM = "input p dim keepdim dtype"
_LAYER_NORM = "input normalized_shape weight bias eps cudnn_enable"
_GROUP_NORM = "input num_groups weight bias eps cudnn_enabled"
_SDPA = "query key value attn_mask dropout_p is_causal scale enable_gqa"

ROWS = (
    *POINTWISE,
    # Casts, copies, dropout: the value stays, the element type may not.
    Row("cast", _ONE, "contiguous clone detach alias type type_as to _to_copy positive"),
    Row("cast", _ONE, "float double half bfloat16 bool int long short"),
    Row("cast", _ONE, "convert_element_type lift_fresh_copy", (op.pos,)),
    Row("dropout", "input p training inplace", "dropout feature_dropout"),
    # Layout.
    Row("transpose", "input dim0 dim1", "transpose swapaxes swapdims"),
    Row("transpose_last", _ONE, "t mT"),
    Row("numpy_T", _ONE, "numpy_T"),
    Row("permute", "input dims", "permute"),
    Row("movedim", "input source destination", "movedim moveaxis"),
    Row("view", _ONE, "view reshape flatten unflatten view_as reshape_as _unsafe_view"),
    Row("unsqueeze", "input dim", "unsqueeze"),
    Row("view", _ONE, "squeeze"),
    Row("expand", _ONE, "expand expand_as"),
    Row("repeat_interleave", "input repeats dim output_size", "repeat_interleave"),
    Row("getitem", "input index", "", (op.getitem,)),
    Row("slice", "input dim start end step", "slice"),
    Row("select", "input dim index", "select"),
    Row("getattr", "input name", "", (builtins.getattr,)),
    # Products.
    Row("matmul", _TWO, "matmul bmm mm mv linalg_matmul", _MATMUL),
    Row("baddbmm", "input batch1 batch2 beta alpha", "baddbmm"),
    Row("addmm", "input mat1 mat2 beta alpha", "addmm"),
    Row("linear", "input weight bias", "", (F.linear, torch.ops.aten.linear.default)),
    Row("convolution", _CONVOLUTION, "conv1d conv2d conv3d"),
    Row("convolution", _TRANSPOSABLE, "convolution"),
    Row("inner", _TWO, "inner"),
    Row("tensordot", "a b dims dims_other", "tensordot"),
    Row("einsum", "equation operands", "einsum"),
    Row("empty", "size", "empty"),
    # Tensors that hold one number.
    Row("zeros", "size", "zeros zeros_like new_zeros"),
    Row("ones", "size", "ones ones_like new_ones"),
    Row("full", "input fill_value", "full full_like"),
    Row("full", "input size fill_value", "new_full"),
    Row("scalar_tensor", "input", "scalar_tensor"),
    # Ranges, and what is made of them.
    Row("arange", "start end step", "arange"),
    Row("iota", "length start step", "iota"),
    Row("diff", "input n dim prepend append", "diff"),
    Row("cumsum", "input dim", "cumsum"),
    Row("repeat", _ONE, "repeat"),
    Row("index", "input indices", "index"),
    # Reads by index.
    Row("embedding", _EMBEDDING, "", (F.embedding,)),
    Row("embedding", _ATEN_EMBEDDING, "", (torch.embedding, torch.ops.aten.embedding.default)),
    Row("index_select", "input dim index", "index_select"),
    # Triangles of the scores.
    Row("tril", "input diagonal", "tril"),
    Row("triu", "input diagonal", "triu"),
    # One more column, and without it again.
    Row("cat", "tensors dim", "cat concat concatenate"),
    Row("pad", "input pad mode value", "pad", (PAD,)),
    Row("pad", "input pad value", "constant_pad_nd"),
    # Reductions.
    Row("softmax", "input dim _stacklevel dtype", "", (F.softmax,)),
    Row("softmax", "input dim dtype", "softmax"),
    Row("softmax", "input dim half_to_float", "_softmax"),
    Row("safe_softmax", "input dim dtype", "_safe_softmax"),
    Row("softmin", "input dim _stacklevel dtype", "", (F.softmin,)),
    Row("log_softmax", "input dim _stacklevel dtype", "", (F.log_softmax,)),
    Row("log_softmax", "input dim dtype", "log_softmax"),
    Row("log_softmax", "input dim half_to_float", "_log_softmax"),
    Row("logsumexp", "input dim keepdim", "logsumexp"),
    Row("any", "input dim keepdim", "any"),
    Row("all", "input dim keepdim", "all"),
    Row("sum", "input dim keepdim dtype", "sum"),
    Row("amax", "input dim keepdim", "amax"),
    Row("amin", "input dim keepdim", "amin"),
    Row("max", "input dim keepdim", "max"),
    Row("min", "input dim keepdim", "min"),
    # Statistics, and normalizations by them.
    Row("mean", "input dim keepdim dtype", "mean"),
    Row("var", "input dim unbiased keepdim", "", (torch.ops.aten.var.dim,)),
    Row("var", "input dim correction keepdim unbiased", "var"),
    Row("std", "input dim unbiased keepdim", "", (torch.ops.aten.std.dim,)),
    Row("std", "input dim correction keepdim unbiased", "std"),
    Row("norm", _NORM, "norm linalg_vector_norm", (torch.linalg.vector_norm,)),
    Row("normalize", "input p dim eps out", "", (F.normalize,)),
    Row("layer_norm", _LAYER_NORM, "layer_norm native_layer_norm"),
    Row("rms_norm", "input normalized_shape weight eps", "rms_norm"),
    Row("group_norm", _GROUP_NORM, "group_norm"),
    # Writes into a part of a tensor, and what they write.
    Row("written", "input write", "", (written,)),
    Row("index_put", "input indices values accumulate", "index_put"),
    Row("select_scatter", "input src dim index", "select_scatter"),
    Row("slice_scatter", "input src dim start end step", "slice_scatter"),
    Row("diagonal_scatter", "input src offset dim1 dim2", "diagonal_scatter"),
    Row("fill", "input value", "fill"),
    Row("zero", _ONE, "zero"),
    Row("copy", "input src non_blocking", "copy"),
    Row("diagonal", "input offset dim1 dim2", "diagonal"),
    # Whole attention.
    Row("sdpa", _SDPA, "", (F.scaled_dot_product_attention,)),
    Row("sdpa", _SDPA, "scaled_dot_product_attention"),
)


PAIRWISE = {"max": Row("maximum", _TWO), "min": Row("minimum", _TWO)}
"""What ``max`` and ``min`` of two tensors are."""


def _table() -> dict[Spelling, Row]:
    table: dict[Spelling, Row] = {}
    for row in ROWS:
        for spelling in row.spellings():
            table.setdefault(spelling, row)
    return table


TABLE: Mapping[Spelling, Row] = _table()
