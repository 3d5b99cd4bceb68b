"""What is legal around joins: each rule is broken once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snipjit.errors import VerificationError
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.allocate_buffers import AllocateBuffers
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import rows_for
from tests.kernels import launcher_of

JOINED = """\
linear @g lanes d x {lanes}
axis m
axis n
axis d = 16
axis c = 3
input %x : f32[m][n]
input %z : f32[n][m]
output %y : f32[m] order 0
output %w : f32[m][n] order 0 1
parallel m step 1 {{
  buffer %l.chunks : f32[c:3]
  buffer %q.chunks : f32[c:3]
  parallel n step 4 {{
    %l = fill {{value=0.0}} : f32[m]
    %q = fill {{value=0.0}} : f32[m]
    for n step 4 {{
      for n step 1 {{
        %x.tile = load %x : f32[m n]
        %l.part = horizon %x.tile {{monoid=sum, over=(n)}} : f32[m]
        %l = add %l %l.part : f32[m]
        %z.tile = load %z : f32[m n]
        %q.part = horizon %z.tile {{monoid=sum, over=(n)}} : f32[m]
        %q = add %q %q.part : f32[m]
        %t = mul %x.tile %z.tile : f32[m n]
        store %w %t : f32[m n]
      }}
    }}
    join c {{
      store %l.chunks %l : f32[m c]
      store %q.chunks %q : f32[m c]
    }} last {{
      %l = fill {{value=0.0}} : f32[m]
      %q = fill {{value=0.0}} : f32[m]
      for c step 1 {{
        %l.chunk = load %l.chunks : f32[m c]
        %l.more = horizon %l.chunk {{monoid=sum, over=(c)}} : f32[m]
        %l = add %l %l.more : f32[m]
        %q.chunk = load %q.chunks : f32[m c]
        %q.more = horizon %q.chunk {{monoid=sum, over=(c)}} : f32[m]
        %q = add %q %q.more : f32[m]
      }}
    }}
    %r = div %l %q : f32[m]
    store %y %r : f32[m]
  }}
}}
"""
TEXT = JOINED.format(lanes=4)

FAULTS = [
    ("    %r = div", "    join c { } last { }\n    %r = div", "a join stands alone"),
    ("axis c = 3", "axis c", "no static size of its own"),
    ("join c {", "join n {", "no static size of its own"),
    ("join c {", "join b {", "unknown axes: b"),
    ("    join c {", "    store %y %l : f32[m]\n    join c {", "every chunk of axis n would store"),
    ("    %r = div", "    for n step 4 { %u = load %x : f32[m n] }\n    %r = div", "has ended"),
    ("%l.chunks : f32[c:3]", "%l.chunks : f32[c:2]", "its outermost axis must be [c:3]"),
    ("%l.chunks : f32[c:3]", "%l.chunks : f32[m:1][c:3]", "its outermost axis must be [c:3]"),
    ("      store %q.chunks", "      %a = load %l.chunks : f32[m c] store %q.chunks", "is shared"),
    ("    join c {", "    store %l.chunks %l : f32[m c]\n    join c {", "is shared"),
]
FINAL_FAULTS = [
    ("%q.chunks : f32[c:3] at 64", "%q.chunks : f32[c:3] at 0", "at the same time"),
    ("join c moves %l.chunks by 1 ", "join c moves ", "must move"),
    ("%l = fill {value=0.0} : f32[m]\n      %q", "%l = load %l.chunks : f32[m c]\n      %q", "%l"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_faults(old: str, new: str, message: str) -> None:
    verify(parse_linear(TEXT))
    text = TEXT.replace(old, new)
    assert text != TEXT
    with pytest.raises(VerificationError) as error:
        verify(parse_linear(text))
    assert message in str(error.value)


def finished(lanes: int = 4) -> str:
    lir = InitLoops().run(AllocateBuffers().run(parse_linear(JOINED.format(lanes=lanes))))
    verify(lir, final=True)
    return print_linear(lir)


@pytest.mark.parametrize(("old", "new", "message"), FINAL_FAULTS)
def test_faults_before_emission(old: str, new: str, message: str) -> None:
    text = finished().replace(old, new)
    assert text != finished()
    with pytest.raises(VerificationError) as error:
        verify(parse_linear(text), final=True)
    assert message in str(error.value)


def test_shared_buffers_need_a_join() -> None:
    text = """
    linear @g lanes m x 4 axis m axis n output %y : f32[n][m] order 0 1
    parallel n step 1 {
      buffer %a : f32[m:4]
      parallel m step 1 { %0 = fill {value=0.0} : f32[n m] store %y %0 : f32[n m] }
    }
    """
    with pytest.raises(VerificationError, match="for which there must be one join"):
        verify(parse_linear(text))


def test_a_join_stands_in_a_parallel_loop() -> None:
    text = """
    linear @g lanes m x 4 axis m axis c = 2 output %y : f32[m] order 0
    parallel m step 4 {
      for m step 4 { join c { } last { } %0 = fill {value=0.0} : f32[m] store %y %0 : f32[m] }
    }
    """
    with pytest.raises(VerificationError, match="a join stands alone"):
        verify(parse_linear(text))


@pytest.mark.parametrize("columns", [0, 1, 4, 5, 12, 13, 1000])
def test_meaning(columns: int) -> None:
    """The interpreter and a kernel: chunks, the join in registers, outputs of each chunk."""
    target = rows_for(host_features())[0]
    random = np.random.default_rng(columns)
    x, z = (random.random(shape).astype(np.float32) for shape in ((5, columns), (columns, 5)))
    with np.errstate(all="ignore"):
        wanted = [x.sum(1) / z.sum(0), x * z.T]
    run = launcher_of(parse_linear(finished(target.lanes)), target)
    kernel = run.structure.kernel(run.structure.selection.general)
    assert kernel is not None
    assert kernel.recipe.split == ("n", 4, 1, 3, 128)
    compiled = run(torch.from_numpy(x), torch.from_numpy(z))
    for got in (interpret(parse_linear(TEXT), [x, z]), compiled):
        for one, want in zip(got, wanted, strict=True):
            np.testing.assert_allclose(np.asarray(one), want, rtol=1e-4)
