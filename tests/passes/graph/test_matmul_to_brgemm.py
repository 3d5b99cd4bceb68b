from __future__ import annotations

from snipjit.passes.graph.matmul_to_brgemm import MatmulToBrgemm
from tests.passes.graph.support import rewritten


def test_the_summed_axes_are_named() -> None:
    before = """
        subgraph @g
        axis b
        axis m
        axis d
        axis n
        %q = parameter : f32[b][m][d]
        %k = parameter : f32[d][n]
        %u = parameter : f32[n][]
        %v = parameter : f32[][m]
        %s = matmul %q %k : f32[b][m][n]
        %o = matmul %u %v : f32[n][m]
        %r0 = result %s {order=(0, 1, 2)} : f32[b][m][n]
        %r1 = result %o {order=(0, 1)} : f32[n][m]
    """
    after = rewritten(MatmulToBrgemm(), before)
    assert "%s = brgemm %q %k {over=(d)} : f32[b][m][n]" in after
    assert "%o = mul %u %v : f32[n][m]" in after
