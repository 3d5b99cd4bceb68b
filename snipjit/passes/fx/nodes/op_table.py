"""The op table: every spelling of every op that tokenization understands, one row each.

A row lists functions, Tensor methods, operators and ATen overloads that mean one canonical op and
take their arguments under the same names. ``names`` stands for what is called the same everywhere:
``torch.add``, ``Tensor.add``, ``Tensor.add_``, ``aten.add.*``, ``aten.add_.*``. Canonical ops are
those of ``ir/operations.py``, the composed functions of ``expand_elementwise.py``, and the layouts,
products, reductions and whole attention calls of ``lifter.py``.
"""

from __future__ import annotations

import builtins
import operator as op
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from snipjit.passes.fx.nodes.written import written
from snipjit.torch_private import OPERATORS, PAD

Spelling = Callable[..., Any] | str


@dataclass(frozen=True)
class Row:
    """One meaning: the canonical op, its argument names, its spellings.

    A call with another argument is none of it, unless the op is one of ``calls.READ_FROM_TRACE``.
    """

    op: str
    arguments: str
    names: str = ""
    functions: tuple[Spelling, ...] = ()

    def spellings(self) -> list[Spelling]:
        """Everything a node's target may be (method names as strings)."""
        found: list[Spelling] = list(self.functions)
        for name in self.names.split():
            for form in (name, f"{name}_"):
                found += _spelled(form)
        return found


def _spelled(name: str) -> list[Spelling]:
    found: list[Spelling] = [name] if hasattr(torch.Tensor, name) else []
    found += [getattr(home, name) for home in (torch, F, torch.special) if hasattr(home, name)]
    for library in OPERATORS:
        packet = getattr(library, name, None)
        if packet is not None:
            forms = [form for form in packet.overloads() if "out" not in form]
            # Dynamo calls the packet itself for `x.mT`, from torch 2.14 on.
            found += [packet, *(getattr(packet, form) for form in forms)]
    return found


_ONE, _TWO = "input", "input other"
_MATMUL = (op.matmul, "__matmul__", torch.linalg.matmul)
_QUANTIZED = "input scale zero_point quant_min quant_max"
_SDPA = "query key value attn_mask dropout_p is_causal scale enable_gqa"

ROWS = (
    # Elementwise, as in operations.py.
    Row("add", "input other alpha", "add", (op.add, op.iadd)),
    Row("sub", "input other alpha", "sub subtract", (op.sub, op.isub)),
    Row("rsub", "input other alpha", "rsub", ("__rsub__",)),
    Row("mul", _TWO, "mul multiply", (op.mul, op.imul)),
    Row("div", "input other rounding_mode", "div divide true_divide", (op.truediv, op.itruediv)),
    Row("rdiv", _TWO, "", ("__rtruediv__", "__rdiv__")),
    Row("maximum", _TWO, "maximum"),
    Row("minimum", _TWO, "minimum"),
    Row("pow", "input exponent", "pow float_power", (op.pow, op.ipow)),
    Row("neg", _ONE, "neg negative", (op.neg,)),
    Row("abs", _ONE, "abs absolute", (op.abs, builtins.abs)),
    Row("exp", _ONE, "exp"),
    Row("exp2", _ONE, "exp2"),
    Row("log", _ONE, "log"),
    Row("sqrt", _ONE, "sqrt"),
    Row("tanh", _ONE, "tanh"),
    Row("sigmoid", _ONE, "sigmoid expit"),
    Row("erf", _ONE, "erf"),
    Row("floor", _ONE, "floor"),
    Row("ceil", _ONE, "ceil"),
    Row("round", "input decimals", "round"),
    Row("sign", _ONE, "sign sgn"),
    Row("eq", _TWO, "eq", (op.eq, "__eq__")),
    Row("ne", _TWO, "ne not_equal", (op.ne, "__ne__")),
    Row("lt", _TWO, "lt less", (op.lt, "__lt__")),
    Row("le", _TWO, "le less_equal", (op.le, "__le__")),
    Row("gt", _TWO, "gt greater", (op.gt, "__gt__")),
    Row("ge", _TWO, "ge greater_equal", (op.ge, "__ge__")),
    Row("and", _TWO, "logical_and bitwise_and __and__", (op.and_, op.iand)),
    Row("or", _TWO, "logical_or bitwise_or __or__", (op.or_, op.ior)),
    Row("xor", _TWO, "logical_xor bitwise_xor __xor__", (op.xor, op.ixor)),
    Row("not", _ONE, "logical_not bitwise_not", (op.invert, "__invert__")),
    Row("where", "condition input other", "", (torch.where, *_spelled("where")[2:])),
    Row("where_method", "input condition other", "", ("where",)),
    # Composed of elementwise ops, in expand_elementwise.py.
    Row("square", _ONE, "square"),
    Row("rsqrt", _ONE, "rsqrt"),
    Row("reciprocal", _ONE, "reciprocal"),
    Row("log2", _ONE, "log2"),
    Row("log10", _ONE, "log10"),
    Row("relu", "input inplace", "relu"),
    Row("relu6", "input inplace", "relu6"),
    Row("leaky_relu", "input negative_slope inplace", "leaky_relu"),
    Row("elu", "input alpha inplace", "", (F.elu,)),
    Row("elu", "input alpha scale input_scale", "elu"),
    Row("prelu", "input weight", "prelu"),
    Row("rrelu", "input lower upper training inplace", "", (F.rrelu,)),
    Row("rrelu", "input lower upper training generator", "rrelu"),
    Row("gelu", "input approximate", "gelu"),
    Row("silu", "input inplace", "silu"),
    Row("hardsigmoid", "input inplace", "hardsigmoid"),
    Row("hardswish", "input inplace", "hardswish"),
    Row("hardtanh", "input min max inplace", "hardtanh"),
    Row("tanhshrink", _ONE, "tanhshrink"),
    Row("softsign", _ONE, "softsign"),
    Row("softshrink", "input lambd", "softshrink"),
    Row("hardshrink", "input lambd", "hardshrink"),
    Row("logit", "input eps", "logit"),
    Row("threshold", "input threshold value inplace", "threshold"),
    Row("clamp", "input min max", "clamp clip"),
    Row("clamp_min", "input min", "clamp_min"),
    Row("clamp_max", "input max", "clamp_max"),
    Row("masked_fill", "input mask value", "masked_fill"),
    Row("addcmul", "input tensor1 tensor2 value", "addcmul"),
    Row("addcdiv", "input tensor1 tensor2 value", "addcdiv"),
    Row("lerp", "input end weight", "lerp"),
    Row("expm1", _ONE, "expm1"),
    Row("log1p", _ONE, "log1p"),
    Row("logaddexp", _TWO, "logaddexp"),
    Row("xlogy", _TWO, "xlogy"),
    Row("xlog1py", _TWO, "xlog1py special_xlog1py"),
    Row("entr", _ONE, "entr special_entr"),
    Row("fmax", _TWO, "fmax"),
    Row("fmin", _TWO, "fmin"),
    Row("frac", _ONE, "frac"),
    Row("heaviside", "input values", "heaviside"),
    Row("ldexp", _TWO, "ldexp"),
    Row("deg2rad", _ONE, "deg2rad"),
    Row("rad2deg", _ONE, "rad2deg"),
    Row("isposinf", _ONE, "isposinf"),
    Row("isneginf", _ONE, "isneginf"),
    Row("isnan", _ONE, "isnan"),
    Row("isinf", _ONE, "isinf"),
    Row("isfinite", _ONE, "isfinite"),
    Row("nan_to_num", "input nan posinf neginf", "nan_to_num"),
    Row("trunc", _ONE, "trunc fix"),
    Row("softplus", "input beta threshold", "softplus"),
    Row("logsigmoid", _ONE, "logsigmoid log_sigmoid"),
    Row("mish", "input inplace", "mish"),
    Row("celu", "input alpha inplace", "celu"),
    Row("selu", "input inplace", "selu"),
    Row("fake_quantize", _QUANTIZED, "fake_quantize_per_tensor_affine"),
    # Casts, copies, dropout: the value stays, the element type may not.
    Row("cast", _ONE, "contiguous clone detach alias type type_as float bool to _to_copy positive"),
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
    Row("getattr", "input name", "", (builtins.getattr,)),
    # Products.
    Row("matmul", _TWO, "matmul bmm mm mv linalg_matmul", _MATMUL),
    Row("baddbmm", "input batch1 batch2 beta alpha", "baddbmm"),
    Row("addmm", "input mat1 mat2 beta alpha", "addmm"),
    Row("linear", "input weight bias", "", (F.linear, torch.ops.aten.linear.default)),
    Row("inner", _TWO, "inner"),
    Row("tensordot", "input other dims", "", (torch.tensordot,)),
    Row("tensordot", "input other dims dims_other", "tensordot"),
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
    # Triangles of the scores.
    Row("tril", "input diagonal", "tril"),
    Row("triu", "input diagonal", "triu"),
    # One more column, and without it again.
    Row("cat", "tensors dim", "cat concat concatenate"),
    Row("pad", "input pad mode value", "pad", (PAD,)),
    Row("pad", "input pad value", "constant_pad_nd"),
    # Reductions.
    Row("softmax", "input dim _stacklevel dtype", "", (F.softmax,)),
    Row("softmax", "input dim dtype", "softmax special_softmax", ()),
    Row("softmax", "input dim half_to_float", "_softmax"),
    Row("softmin", "input dim _stacklevel dtype", "", (F.softmin,)),
    Row("log_softmax", "input dim _stacklevel dtype", "", (F.log_softmax,)),
    Row("log_softmax", "input dim dtype", "log_softmax special_log_softmax", ()),
    Row("log_softmax", "input dim half_to_float", "_log_softmax"),
    Row("logsumexp", "input dim keepdim", "logsumexp"),
    Row("any", "input dim keepdim", "any"),
    Row("all", "input dim keepdim", "all"),
    Row("sum", "input dim keepdim dtype", "sum"),
    Row("amax", "input dim keepdim", "amax"),
    Row("amin", "input dim keepdim", "amin"),
    Row("max", "input dim keepdim", "max"),
    Row("min", "input dim keepdim", "min"),
    # Writes into a part of a tensor, and what they write.
    Row("written", "input write", "", (written,)),
    Row("index_put", "input indices values accumulate", "index_put"),
    Row("select_scatter", "input src dim index", "select_scatter"),
    Row("slice_scatter", "input src dim start end step", "slice_scatter"),
    Row("diagonal_scatter", "input src offset dim1 dim2", "diagonal_scatter"),
    Row("fill", "input value", "fill"),
    Row("zero", _ONE, "zero"),
    Row("copy", "input src non_blocking", "copy"),
    Row("select", "input dim index", "select"),
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
