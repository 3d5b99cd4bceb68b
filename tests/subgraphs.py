"""Positional Subgraphs for the tests of every stage, as a tokenizer would build them."""

from __future__ import annotations

from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType

of = TensorType.of
F32 = "f32"

MASKS: dict[str, tuple[tuple[str, str, str, str], tuple[int, ...]]] = {
    "padding": (("p0", "p1", "p2", "p3"), (1, 2)),
    "bias": (("p0", "p1", "p2", "p3"), (0,)),
    "full": (("p0", "p1", "p2", "p3"), ()),
    "keys": (("p0", "p1", "p2", "p3"), (0, 1, 2)),
}
"""Axes of the mask, and the dims of size 1: [b 1 1 n], [1 h m n], [b h m n], [1 1 1 n]."""


def _mask(build: SubgraphBuilder, kind: str, dtype: str = F32) -> str:
    axes, ones = MASKS[kind]
    if not ones:
        return build.add("parameter", of(dtype, *axes), name="mask")
    return build.add("parameter", of(dtype, *axes), name="mask", ones=ones)


def _heads(build: SubgraphBuilder, name: str, static: int | None) -> str:
    build.axes[f"{name}3"] = static
    return build.add("parameter", of(F32, *(f"{name}{i}" for i in range(4))), name=name)


def attention(
    mask: str | None = None, D: int | None = None, boolean: bool = False, scale: str = "mul"
) -> Subgraph:
    """``softmax(q kᵀ · scale + mask) v`` with q, k, v [b][h][s][d].

    mask     a key of MASKS, or None; ``boolean`` masks fill hidden scores with -inf (``where``)
    D        the static head size, or None for a dynamic one
    scale    ``mul`` or ``div`` of the scores, ``q`` (before the product), ``k``, or ``none``
    """
    build = SubgraphBuilder("attention")
    q, k, v = (_heads(build, name, D) for name in "qkv")
    factor = build.add("scalar", of(F32), name="scale") if scale != "none" else ""
    if scale in ("q", "k"):
        scaled = build.add("mul", build.type(scale), scale, factor)
        q, k = (scaled, k) if scale == "q" else (q, scaled)
    kt = build.add("transpose", of(F32, "k0", "k1", "k3", "k2"), k, order=(0, 1, 3, 2))
    scores = of(F32, "q0", "q1", "q2", "k2")
    s = build.add("matmul", scores, q, kt)
    if scale in ("mul", "div"):
        s = build.add(scale, scores, s, factor)
    if mask is not None:
        s = _masked(build, s, mask, boolean)
    p = build.add("softmax", scores, s, dim=-1)
    o = build.add("matmul", of(F32, "q0", "q1", "q2", "v3"), p, v)
    build.result(o, name="y")
    return build.subgraph()


def _masked(build: SubgraphBuilder, scores: str, kind: str, boolean: bool) -> str:
    type = build.type(scores)
    if not boolean:
        return build.add("add", type, scores, _mask(build, kind))
    fill = build.add("constant", of(F32), value=float("-inf"))
    return build.add("where", type, _mask(build, kind, "i1"), scores, fill)


def attention_sequence_major(D: int | None = None, mask: str | None = None) -> Subgraph:
    """The BERT form: q, k, v [b][s][h d], head splits, and a merged output [b][m][h e]."""
    build = SubgraphBuilder("attention")
    split = {}
    for name in "qkv":
        b, s, h, d = (f"{name}{i}" for i in range(4))
        build.axes[d] = D
        whole = build.add("parameter", TensorType(F32, ((b,), (s,), (h, d))), name=name)
        heads = build.add("view", of(F32, b, s, h, d), whole)
        split[name] = build.add("transpose", of(F32, b, h, s, d), heads, order=(0, 2, 1, 3))
    kt = build.add("transpose", of(F32, "k0", "k2", "k3", "k1"), split["k"], order=(0, 1, 3, 2))
    scores = of(F32, "q0", "q2", "q1", "k1")
    s = build.add("matmul", scores, split["q"], kt)
    s = build.add("div", scores, s, build.add("scalar", of(F32), name="root"))
    if mask is not None:
        s = build.add("add", scores, s, _mask(build, mask))
    p = build.add("softmax", scores, s, dim=-1)
    o = build.add("matmul", of(F32, "q0", "q2", "q1", "v3"), p, split["v"])
    t = build.add("transpose", of(F32, "q0", "q1", "q2", "v3"), o, order=(0, 2, 1, 3))
    merged = TensorType(F32, (("q0",), ("q1",), ("q2", "v3")))
    build.result(build.add("view", merged, t), name="y")
    return build.subgraph()


def repeat_kv(build: SubgraphBuilder, name: str, group: str) -> str:
    """K or V [b][hk][n][d] with every head repeated for a group of query heads: [b][hk g][n][d]."""
    b, h, n, d = build.type(name).axes
    x = build.add("unsqueeze", of(F32, b, h, "", n, d), name, dim=2)
    x = build.add("expand", of(F32, b, h, group, n, d), x)
    return build.add("view", TensorType(F32, ((b,), (h, group), (n,), (d,))), x)


def attention_grouped(D: int | None = None, mask: str | None = None) -> Subgraph:
    """The Llama form: grouped key heads, a float mask, output [b][m][h e]."""
    build = SubgraphBuilder("attention")
    q, k, v = (_heads(build, name, D) for name in "qkv")
    k, v = repeat_kv(build, k, "kg"), repeat_kv(build, v, "vg")
    kt_type = TensorType(F32, (("k0",), ("k1", "kg"), ("k3",), ("k2",)))
    kt = build.add("transpose", kt_type, k, order=(0, 1, 3, 2))
    scores = of(F32, "q0", "q1", "q2", "k2")
    s = build.add("matmul", scores, q, kt)
    s = build.add("mul", scores, s, build.add("scalar", of(F32), name="scale"))
    if mask is not None:
        s = build.add("add", scores, s, _mask(build, mask))
    p = build.add("softmax", scores, s, dim=-1)
    o = build.add("matmul", of(F32, "q0", "q1", "q2", "v3"), p, v)
    t = build.add("transpose", of(F32, "q0", "q2", "q1", "v3"), o, order=(0, 2, 1, 3))
    build.result(t, name="y")
    return build.subgraph()


def sdpa(
    mask: str | None = None,
    boolean: bool = False,
    causal: bool = False,
    gqa: bool = False,
    D: int | None = 64,
    scale: bool = True,
) -> Subgraph:
    """One whole ``scaled_dot_product_attention`` of q, k, v [b][h][s][d]."""
    build = SubgraphBuilder("attention")
    operands = [_heads(build, name, D) for name in "qkv"]
    if mask is not None:
        operands.append(_mask(build, mask, "i1" if boolean else F32))
    if scale:
        operands.append(build.add("scalar", of(F32), name="scale"))
    type, masked = of(F32, "q0", "q1", "q2", "v3"), mask is not None
    o = build.add("sdpa", type, *operands, mask=masked, scale=scale, causal=causal, gqa=gqa)
    build.result(o, name="y")
    return build.subgraph()


def two_values(D: int | None = None) -> Subgraph:
    """One softmax with two value matrices, hence two results."""
    build = SubgraphBuilder("two_values")
    q, k, v, w = (_heads(build, name, D) for name in "qkvw")
    kt = build.add("transpose", of(F32, "k0", "k1", "k3", "k2"), k, order=(0, 1, 3, 2))
    scores = of(F32, "q0", "q1", "q2", "k2")
    p = build.add("softmax", scores, build.add("matmul", scores, q, kt), dim=-1)
    for value in (v, w):
        o = build.add("matmul", of(F32, "q0", "q1", "q2", f"{value}3"), p, value)
        build.result(o, name=f"y_{value}")
    return build.subgraph()


def _rebuilt(subgraph: Subgraph) -> SubgraphBuilder:
    """A builder that has added the nodes of a Subgraph."""
    build = SubgraphBuilder(subgraph.name, **subgraph.axes)
    for node in subgraph.nodes:
        build.add(node.op, node.type, *node.inputs, name=node.name, **node.attrs)
    return build


def attention_weights(D: int | None = None, mask: str = "full") -> Subgraph:
    """``attention`` whose scores, before the mask, and probabilities are results too."""
    plain = attention(mask, D)
    build = _rebuilt(plain)
    (scores,) = (node for node in plain.nodes if node.op == "mul")
    (weights,) = plain.of("softmax")
    for name, node in (("scores", scores), ("weights", weights)):
        build.result(node.name, name=name)
    return build.subgraph()


def attention_statistics(D: int | None = None, mask: str = "full") -> Subgraph:
    """``attention`` with the log-sum-exp and the NaN-keeping maximum of each row of scores."""
    plain = attention(mask, D)
    build = _rebuilt(plain)
    (softmax,) = plain.of("softmax")
    (s,), scores = softmax.inputs, softmax.type
    kept = TensorType(F32, (*scores.dims[:-1], ()))
    top = build.add("reduce_dims", kept, s, monoid="larger", dims=(-1,), keepdim=True)
    e = build.add("exp", scores, build.add("sub", scores, s, top))
    total = build.add("reduce_dims", kept, e, monoid="sum", dims=(-1,), keepdim=True)
    build.result(build.add("add", kept, build.add("log", kept, total), top), name="lse")
    rows = TensorType(F32, scores.dims[:-1])
    most = build.add("reduce_dims", rows, s, monoid="max", dims=(-1,), keepdim=False)
    build.result(most, name="most")
    return build.subgraph()


def softmax_alone() -> Subgraph:
    """Softmax of rows, [b][m][n]."""
    build = SubgraphBuilder("softmax")
    type = of(F32, "x0", "x1", "x2")
    x = build.add("parameter", type, name="x")
    build.result(build.add("softmax", type, x, dim=-1), name="y")
    return build.subgraph()


def log_sum_exp_of_product(D: int | None = None) -> Subgraph:
    """``log Σ exp(x wᵀ)`` per row: x [b][m][d], w [n][d], result [b][m]."""
    build = SubgraphBuilder("log_sum_exp", x2=D, w1=D)
    x = build.add("parameter", of(F32, "x0", "x1", "x2"), name="x")
    w = build.add("parameter", of(F32, "w0", "w1"), name="w")
    wt = build.add("transpose", of(F32, "w1", "w0"), w, order=(1, 0))
    s = build.add("matmul", of(F32, "x0", "x1", "w0"), x, wt)
    kept = of(F32, "x0", "x1", "")
    top = build.add("reduce_dims", kept, s, monoid="max", dims=(-1,), keepdim=True)
    e = build.add("exp", build.type(s), build.add("sub", build.type(s), s, top))
    total = build.add("reduce_dims", kept, e, monoid="sum", dims=(-1,), keepdim=True)
    y = build.add("add", kept, build.add("log", kept, total), top)
    build.result(build.add("view", of(F32, "x0", "x1"), y), name="y")
    return build.subgraph()


def mlp(inner: int | None = None, D: int | None = None) -> Subgraph:
    """matmul ▸ gelu ▸ matmul: x [b][m][d], w [d][inner], u [inner][e]."""
    build = SubgraphBuilder("mlp", x2=D, w0=D, w1=inner, u0=inner)
    x = build.add("parameter", of(F32, "x0", "x1", "x2"), name="x")
    w = build.add("parameter", of(F32, "w0", "w1"), name="w")
    u = build.add("parameter", of(F32, "u0", "u1"), name="u")
    hidden = of(F32, "x0", "x1", "w1")
    h = build.add("matmul", hidden, x, w)
    half = build.add("constant", of(F32), value=0.5)
    root = build.add("constant", of(F32), value=0.5**0.5)
    one = build.add("constant", of(F32), value=1.0)
    phi = build.add("erf", hidden, build.add("mul", hidden, h, root))
    gate = build.add("mul", hidden, build.add("add", hidden, phi, one), half)
    act = build.add("mul", hidden, h, gate)
    build.result(build.add("matmul", of(F32, "x0", "x1", "u1"), act, u), name="y")
    return build.subgraph()


def linear(inputs: int = 8, outputs: int = 12) -> Subgraph:
    """x [b][m][d] times w [e][d], a bias, an activation and a residual sum."""
    build = SubgraphBuilder("linear", x2=inputs, w1=inputs, w0=outputs)
    x = build.add("parameter", of(F32, "x0", "x1", "x2"), name="x")
    w = build.add("parameter", of(F32, "w0", "w1"), name="w")
    c = build.add("parameter", of(F32, "c0"), name="c")
    h = build.add("parameter", of(F32, "h0", "h1", "h2"), name="h")
    made = of(F32, "x0", "x1", "w0")
    across = build.add("transpose", of(F32, "w1", "w0"), w, order=(1, 0))
    y = build.add("add", made, build.add("matmul", made, x, across), c)
    build.result(build.add("add", made, build.add("tanh", made, y), h), name="y")
    return build.subgraph()


def dequantized(inputs: int = 8, outputs: int = 12) -> Subgraph:
    """x [m][d] times w [e][d] of integers, less zeros of its rows and times their scales."""
    build = SubgraphBuilder("dequantized", x1=inputs, w1=inputs, w0=outputs, z0=outputs, s0=outputs)
    x = build.add("parameter", of(F32, "x0", "x1"), name="x")
    w = build.add("parameter", of("i8", "w0", "w1"), name="w")
    z = build.add("parameter", of("i8", "z0", ""), name="z")
    s = build.add("parameter", of(F32, "s0", ""), name="s")
    whole = of(F32, "w0", "w1")
    wide, zeros = build.add("to_f32", whole, w), build.add("to_f32", of(F32, "z0", ""), z)
    scaled = build.add("mul", whole, build.add("sub", whole, wide, zeros), s)
    across = build.add("transpose", of(F32, "w1", "w0"), scaled, order=(1, 0))
    build.result(build.add("matmul", of(F32, "x0", "w0"), x, across), name="y")
    return build.subgraph()


def layers(inputs: int = 8, outputs: int = 12) -> Subgraph:
    """Three products of one input [m][d] with weights [d][e], the last two of which make a gate."""
    build = SubgraphBuilder("layers", x1=inputs)
    x = build.add("parameter", of(F32, "x0", "x1"), name="x")
    made = []
    for name in "uvw":
        build.axes |= {f"{name}0": inputs, f"{name}1": outputs}
        own = build.add("parameter", of(F32, f"{name}0", f"{name}1"), name=name)
        made.append(build.add("matmul", of(F32, "x0", f"{name}1"), x, own))
    build.result(made[0], name="y")
    gate = build.add(
        "mul", build.type(made[1]), build.add("tanh", build.type(made[1]), made[1]), made[2]
    )
    build.result(gate, name="z")
    return build.subgraph()


def mean_variance() -> Subgraph:
    """Mean and variance of rows [b][m][n] as two results; ``count`` is the row length."""
    build = SubgraphBuilder("mean_variance")
    x = build.add("parameter", of(F32, "x0", "x1", "x2"), name="x")
    count = build.add("scalar", of(F32), name="count")
    kept, rows = of(F32, "x0", "x1", ""), of(F32, "x0", "x1")
    total = build.add("reduce_dims", kept, x, monoid="sum", dims=(-1,), keepdim=True)
    mean = build.add("div", kept, total, count)
    centred = build.add("sub", build.type(x), x, mean)
    square = build.add("mul", build.type(x), centred, centred)
    spread = build.add("reduce_dims", rows, square, monoid="sum", dims=(-1,), keepdim=False)
    build.result(build.add("view", rows, mean), name="mean")
    build.result(build.add("div", rows, spread, count), name="variance")
    return build.subgraph()


def elementwise_chain() -> Subgraph:
    """``tanh(x · scale) + y`` over [b][m][n] with y [1][m][n]."""
    build = SubgraphBuilder("chain")
    type = of(F32, "x0", "x1", "x2")
    x = build.add("parameter", type, name="x")
    y = build.add("parameter", of(F32, "y0", "y1", "y2"), name="y", ones=(0,))
    scaled = build.add("mul", type, x, build.add("scalar", of(F32), name="scale"))
    build.result(build.add("add", type, build.add("tanh", type, scaled), y), name="z")
    return build.subgraph()


def layer_norm(features: int | None) -> Subgraph:
    """LayerNorm of a residual sum [m][n], which is a second result; n is dynamic for None.

    The count of features is a scalar then.
    """
    build = SubgraphBuilder("layer_norm", x1=features)
    whole, row = of(F32, "x0", "x1"), of(F32, "x0", "")
    x, r = (build.add("parameter", of(F32, f"{name}0", f"{name}1"), name=name) for name in "xr")
    w, b = (build.add("parameter", of(F32, f"{name}0"), name=name) for name in "wb")
    x = build.add("add", whole, x, r)
    if features is None:
        count = build.add("scalar", of(F32))
    else:
        count = build.add("constant", of(F32), value=features)
    eps = build.add("scalar", of(F32))

    def mean(value: str) -> str:
        total = build.add("reduce_dims", row, value, monoid="sum", dims=(-1,), keepdim=True)
        return build.add("div", row, total, count)

    centred = build.add("sub", whole, x, mean(x))
    spread = build.add("add", row, mean(build.add("mul", whole, centred, centred)), eps)
    scaled = build.add("div", whole, centred, build.add("sqrt", row, spread))
    build.result(build.add("add", whole, build.add("mul", whole, scaled, w), b), name="y")
    build.result(x, name="z")
    return build.subgraph()


ALL = {
    "attention": attention,
    "attention_static": lambda: attention(D=8),
    "attention_padding": lambda: attention("padding"),
    "attention_bias": lambda: attention("bias", scale="div"),
    "attention_boolean": lambda: attention("keys", boolean=True),
    "attention_scaled_k": lambda: attention("full", scale="k"),
    "attention_sequence_major": lambda: attention_sequence_major(8, "padding"),
    "attention_grouped": lambda: attention_grouped(8, "full"),
    "sdpa": lambda: sdpa(D=8),
    "sdpa_padding": lambda: sdpa("padding", boolean=True, D=8),
    "sdpa_causal": lambda: sdpa(causal=True, D=8, scale=False),
    "sdpa_grouped": lambda: sdpa("full", gqa=True, D=8),
    "two_values": two_values,
    "attention_weights": lambda: attention_weights(8),
    "attention_statistics": lambda: attention_statistics(8),
    "softmax_alone": softmax_alone,
    "log_sum_exp_of_product": log_sum_exp_of_product,
    "mlp": mlp,
    "linear": linear,
    "layers": layers,
    "dequantized": dequantized,
    "mean_variance": mean_variance,
    "elementwise_chain": elementwise_chain,
}
"""Every example by name, for tests that run over all of them."""
