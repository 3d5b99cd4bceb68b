"""Which whole numbers masks compute with: the sum of all stays exact in float32.

A mask adds indices of dims, scalars of the call, and numbers of its own; each has its share of what
float32 holds exactly, and what may be larger is refused (or compared without what both sides have
in common).
"""

EXACT = 2**24
"""Up to here float32 holds every whole number."""

LONGEST = 2**23
"""How long a dim may be whose indices a mask is made of."""

FARTHEST = 2**22
"""How large a scalar may be that is added to indices, and the numbers that indices begin with."""

SMALL = 2**20
"""How large a literal may be that a mask computes with."""

assert LONGEST + FARTHEST + SMALL <= EXACT
