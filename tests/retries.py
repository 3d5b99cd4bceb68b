"""A LinearIR with a retry: a block with an element below the bound is stored with its signs turned.

Lanes beyond the end of a block hold 0; they must not count.
"""

RETRY = """\
linear @g lanes m x 4
axis m
input %x : f32[m]
output %y : f32[m] order 0
scalar %bound
parallel m step 16 moves %x by 1 %y by 1 {
  %again = fill {value=false} : i1[]
  retry %again {
    %first = not %again : i1[]
    for m step 16 masked moves %x by 1 rewind %y by 1 rewind {
      %a = load %x : f32[m]
      %low = lt %a %bound : i1[m]
      %missed = and %low %first : i1[m]
      %some = horizon %missed {monoid=any, over=(m)} : i1[]
      %again = or %again %some : i1[]
      %b = neg %a : f32[m]
      %c = where %first %a %b : f32[m]
      store %y %c : f32[m]
    }
  }
}
"""

CALLS = [
    ([5.0, 6.0, 7.0, 8.0], 1.0, 1),
    ([5.0, 6.0, 7.0, 0.5], 1.0, -1),
    ([5.0, 6.0, 7.0], 1.0, 1),
    ([0.5], 1.0, -1),
    ([5.0], 1.0, 1),
]
"""Elements of a block, the bound, and the sign of what is stored."""
