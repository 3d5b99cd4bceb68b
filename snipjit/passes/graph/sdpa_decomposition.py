"""SdpaDecomposition: a whole attention call as the operations it means."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from snipjit.errors import UnsupportedError
from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class SdpaDecomposition(Pass):
    """Expand ``sdpa`` as torch.nn.functional.scaled_dot_product_attention documents it.

    Boolean masks and ``causal`` (query i sees keys 0 … i) replace hidden scores by -inf, other
    masks are added. Rows that see no key give zeros (``hidden``). ``gqa`` repeats each head of
    keys and values for a group of query heads. Without a scale operand it is ``1 / sqrt(d)``,
    which needs a static ``d``.

    Before:  %o = sdpa %q %k %v {mask=false, scale=false, causal=true, gqa=false} : f32[b][m][e]
    After:   %o.keys = transpose %k {order=(0, 2, 1)} : f32[b][d][n]
             %o.scores = matmul %q %o.keys : f32[b][m][n]
             %o.scale = constant {value=0.125} : f32
             %o.scaled = mul %o.scores %o.scale : f32[b][m][n]
             %o.row = iota {axis=m} : i32[m]
             %o.rows = unsqueeze %o.row {dim=1} : i32[m][]
             %o.column = iota {axis=n} : i32[n]
             %o.causal = ge %o.rows %o.column : i1[m][n]
             %o.lowest = constant {value=-inf} : f32
             %o.visible = where %o.causal %o.scaled %o.lowest : f32[b][m][n]
             %o.weights = softmax %o.visible {dim=-1, hidden=zero} : f32[b][m][n]
             %o = matmul %o.weights %v : f32[b][m][e]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without ``sdpa``; UnsupportedError for a default scale of dynamic size."""
        return rewrite(subgraph, {"sdpa": _decompose})


def _decompose(out: Rewriter, node: Node) -> str:
    (q, k, v), name = node.inputs[:3], node.name
    optional = list(node.inputs[3:])
    if node.attrs["gqa"]:
        k, v = _repeat_heads(out, name, k, v)
    dims = out.type(k).dims
    order = (*range(len(dims) - 2), len(dims) - 1, len(dims) - 2)
    flipped = TensorType(out.type(k).dtype, tuple(dims[index] for index in order))
    keys = out.add(f"{name}.keys", "transpose", flipped, k, order=order)
    type = TensorType("f32", (*node.type.dims[:-1], dims[-2]))
    s = out.add(f"{name}.scores", "matmul", type, q, keys)
    mask = optional.pop(0) if node.attrs["mask"] else None
    scale = optional.pop(0) if node.attrs["scale"] else _default_scale(out, name, dims[-1])
    s = out.add(f"{name}.scaled", "mul", type, s, scale)
    if mask is not None and out.type(mask).dtype == "f32":
        s = out.add(f"{name}.masked", "add", type, s, mask)
    elif mask is not None:
        s = _hide(out, f"{name}.masked", s, mask)
    if node.attrs["causal"]:
        visible = _causal(out, name, out.type(q).dims[-2], dims[-2])
        s = _hide(out, f"{name}.visible", s, visible)
    p = out.add(f"{name}.weights", "softmax", type, s, dim=-1, hidden="zero")
    return out.keep(Node(name, "matmul", (p, v), node.type))


def _default_scale(out: Rewriter, name: str, head: Dim) -> str:
    size = 1
    for axis in head:
        known = out.axes[axis]
        if known is None:
            raise UnsupportedError(
                f"%{name} (sdpa) scales by 1 / sqrt of the head size, which is not static; "
                "pass scale= or export with a static head size"
            )
        size *= known
    return out.constant(f"{name}.scale", 1 / sqrt(size))


def _hide(out: Rewriter, name: str, scores: str, visible: str) -> str:
    lowest = out.constant(f"{name}.lowest", float("-inf"))
    return out.add(name, "where", out.type(scores), visible, scores, lowest)


def _causal(out: Rewriter, name: str, rows: Dim, columns: Dim) -> str:
    """Whether query i sees key j: i >= j, counted from the first of each, as in torch."""
    row = _index(out, f"{name}.row", rows)
    type = TensorType("i32", (*out.type(row).dims, ()))
    row = out.add(f"{name}.rows", "unsqueeze", type, row, dim=len(type.dims) - 1)
    column = _index(out, f"{name}.column", columns)
    return out.add(f"{name}.causal", "ge", TensorType("i1", (rows, columns)), row, column)


def _index(out: Rewriter, name: str, dim: Dim) -> str:
    """The index along a dim: 0 where it has size 1 by structure."""
    if not dim:
        return out.constant(name, 0, "i32")
    if len(dim) > 1:
        raise UnsupportedError(f"%{name}: causal over a dim of several axes; one is accepted")
    return out.add(name, "iota", TensorType("i32", (dim,)), axis=dim[0])


def _repeat_heads(out: Rewriter, name: str, k: str, v: str) -> tuple[str, str]:
    """Keys and values with each head (third dim from the end) repeated for a group of heads."""
    group = out.fresh_axis("g")
    return (
        _repeat(out, f"{name}.{k}", k, group),
        _repeat(out, f"{name}.{v}", v, group),
    )


def _repeat(out: Rewriter, name: str, x: str, group: str) -> str:
    dtype, dims = out.type(x).dtype, out.type(x).dims
    heads, rest = dims[:-2], dims[-2:]
    types = (
        TensorType(dtype, (*heads, (), *rest)),
        TensorType(dtype, (*heads, (group,), *rest)),
        TensorType(dtype, (*heads[:-1], (*heads[-1], group), *rest)),
    )
    apart = out.add(f"{name}.apart", "unsqueeze", types[0], x, dim=len(heads))
    groups = out.add(f"{name}.groups", "expand", types[1], apart)
    return out.add(f"{name}.heads", "view", types[2], groups)
