"""``scaled_dot_product_attention`` as one positional ``sdpa`` node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import fx

from snipjit.ir.subgraph import Dim, TensorType
from snipjit.passes.fx.graph.head_scale import HeadScale
from snipjit.passes.fx.lift.subgraph_writer import Aligned, SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import constant, element_type, is_number, is_tensor, tensor


def sdpa(
    node: fx.Node,
    call: Call,
    writer: SubgraphWriter,
    factor: Callable[[str], str],
    operand: Callable[[Any], str],
) -> str:
    """The sdpa node; its scale is always a scalar, 1/sqrt(head dim) where the call gives none."""
    mask, causal, gqa = call.get("attn_mask"), call.get("is_causal", False), call.get("enable_gqa")
    _check(node, call, mask, causal)
    inputs = list(factors(writer, node, factor("query"), factor("key"), factor("value")))
    query, key, values = (writer.types[name] for name in inputs)
    batch, says = (query.dims[:-2], Aligned()) if gqa else writer.broadcast(*inputs, drop=2)
    if mask is not None:
        inputs.append(_mask(writer, operand(mask)))
        scores = (*batch, query.dims[-2], key.dims[-2])
        says = says.joined(_align(writer, scores, writer.types[inputs[-1]].dims))
    inputs.append(operand(_scale(node, call)))
    type = TensorType("f32", (*batch, query.dims[-2], values.dims[-1]))
    attrs = {"mask": mask is not None, "scale": True, "causal": causal, "gqa": bool(gqa)}
    if gqa and len(key.dims) != len(query.dims):
        raise RefusedError(f"`{node.name}` has operands of several ranks; accepted: one rank")
    return writer.add("sdpa", type, *inputs, says=says, **attrs)


def factors(writer: SubgraphWriter, node: fx.Node, *names: str) -> tuple[str, ...]:
    """The factors of a product, in the element type of its result: autocast converts them."""
    if len({writer.types[name].dtype for name in names if writer.types[name].element.is_half}) > 1:
        raise RefusedError(
            f"`{node.name}` multiplies bfloat16 and float16; accepted: factors of one element type"
        )
    dtype = element_type(node)
    return tuple(writer.to(name, dtype) for name in names)


def _mask(writer: SubgraphWriter, mask: str) -> str:
    """A mask that hides or that is added in f32."""
    return mask if writer.types[mask].dtype == "i1" else writer.to(mask, "f32")


def _align(writer: SubgraphWriter, scores: tuple[Dim, ...], mask: tuple[Dim, ...]) -> Aligned:
    """That a mask has rows and columns of the scores, and size 1 where these have no axis."""
    says = Aligned()
    for position, (dim, own) in enumerate(zip(reversed(scores), reversed(mask), strict=False)):
        if writer.axes.yields(own):
            says = says if dim else says.joined(Aligned(ones=frozenset(own)))
        elif position < 2:
            says = says.joined(Aligned(((dim, own),)))
    return says


def _check(node: fx.Node, call: Call, mask: Any, causal: Any) -> None:
    if constant(call.get("dropout_p", 0)) != 0:
        raise RefusedError(f"`{node.name}` drops elements; accepted: dropout_p=0")
    if not isinstance(causal, bool):
        raise RefusedError(f"`{node.name}` has a symbolic is_causal; accepted: True or False")
    if causal and mask is not None:
        raise RefusedError(f"`{node.name}` has a mask and is_causal; accepted: one of them")
    if mask is not None and not (is_tensor(mask) and tensor(mask).dim() >= 1):
        raise RefusedError(f"`{node.name}` has a mask of rank 0; accepted: a mask of rank 1 to 4")
    for name in ("query", "key", "value"):
        if not is_tensor(call.get(name)) or tensor(call.get(name)).dim() < 2:
            raise RefusedError(f"`{node.name}` has a {name} of rank 1; accepted: rank 2 and more")


def _scale(node: fx.Node, call: Call) -> Any:
    scale = call.get("scale")
    if scale is not None:
        if not is_number(scale):
            raise RefusedError(f"`{node.name}` has a tensor scale; accepted: one number")
        return scale
    size = tensor(call.get("query")).shape[-1]
    if not isinstance(size, int):
        return HeadScale(call.get("query"))
    return 1 / math.sqrt(size) if size else 1.0
