"""A fuzzer: graphs as models write them, against eager and float64.

================  =================================================================================
``programs``      what is drawn: lines that can be run, traced, exported, and printed as Python
``draw``          a program and its inputs from a seed: attention, or ``draw_layers``
``runs``          a program by eager PyTorch, in float64, and by snipjit on one target row
``check``         what is wrong with a seed, and what it covered
``shrink``        the smallest program that is still wrong
``faults``        faults to plant, one in a pass each, and whether they are found
================  =================================================================================

``python -m tests.fuzz --seed 0 --count 1000`` checks a range of seeds; a seed is the same program
on every machine. ``--compile`` takes ``torch.compile`` and exports in place of graphs written by
hand; ``--faults`` plants faults.
"""
