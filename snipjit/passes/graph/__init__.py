"""DATA FLOW: the Subgraph of a tokenizer in, a canonical Subgraph of few operations out."""

from __future__ import annotations

from snipjit.passes.base import Pass
from snipjit.passes.graph.canonicalization import Canonicalization
from snipjit.passes.graph.common_subexpressions import CommonSubexpressions
from snipjit.passes.graph.defer_normalization import DeferNormalization
from snipjit.passes.graph.drop_softmax_shift import DropSoftmaxShift
from snipjit.passes.graph.eliminate_dead_nodes import EliminateDeadNodes
from snipjit.passes.graph.eliminate_redundant_converts import EliminateRedundantConverts
from snipjit.passes.graph.exp_to_exp4 import ExpToExp4
from snipjit.passes.graph.fuse_layouts import FuseLayouts
from snipjit.passes.graph.matmul_to_brgemm import MatmulToBrgemm
from snipjit.passes.graph.merge_axes import MergeAxes
from snipjit.passes.graph.move_scalar_factors import MoveScalarFactors
from snipjit.passes.graph.name_axes import NameAxes
from snipjit.passes.graph.name_values import NameValues
from snipjit.passes.graph.propagate_precision import PropagatePrecision
from snipjit.passes.graph.reduce_dims_to_reduce import ReduceDimsToReduce
from snipjit.passes.graph.safe_maxima import SafeMaxima
from snipjit.passes.graph.scale_columns import ScaleColumns
from snipjit.passes.graph.scale_rows import ScaleRows
from snipjit.passes.graph.sdpa_decomposition import SdpaDecomposition
from snipjit.passes.graph.share_columns import ShareColumns
from snipjit.passes.graph.softmax_decomposition import SoftmaxDecomposition

PIPELINE: tuple[Pass, ...] = (
    PropagatePrecision(),  # first: roundings would hide what the passes below look for
    EliminateDeadNodes(),  # several ask who else reads a value: no rounding that is left over
    SdpaDecomposition(),  # it makes positional operations, whose dims want unifying too
    Canonicalization(),  # the names that all later passes go by
    DropSoftmaxShift(),  # while softmax is one operation, and its dim has a number
    SoftmaxDecomposition(),  # before layouts go: it keeps the position of the reduced dim
    ReduceDimsToReduce(),  # dim numbers mean something only while dims have positions
    MatmulToBrgemm(),  # likewise: the last two dims are rows and columns
    NameAxes(),  # all products and reductions are there, and with them the roles of axes
    FuseLayouts(),  # positions are no longer needed; from here on all is by name
    ShareColumns(),  # all is by name; what merges next is the same of all layers
    MergeAxes(),  # before passes that look for the one axis of rows or of keys
    EliminateRedundantConverts(),  # they would hide factors and equal values
    SafeMaxima(),  # all operands are by name; ExpToExp4 and control flow know it by one operation
    ScaleColumns(),  # after layouts and converts too; before scalars would go to the other operand
    MoveScalarFactors(),  # after layouts and converts, which would stand between factor and product
    DeferNormalization(),  # after scalars, which it then need not carry over products
    ExpToExp4(),  # after all that simplifies what is done with scores
    EliminateDeadNodes(),  # ScaleRows asks who else reads a product
    ScaleRows(),  # after ExpToExp4, which makes factors; products keep none but their rows'
    CommonSubexpressions(),  # equal values are equal nodes now
    EliminateDeadNodes(),  # what the passes above left over
    NameValues(),  # last: names of what remains
)

SIZED: tuple[Pass, ...] = PIPELINE[[type(step) for step in PIPELINE].index(ScaleRows) :]
"""The passes that do more where sizes are static: they run again when axes have got sizes."""
