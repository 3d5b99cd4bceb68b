"""The command: checks a range of seeds and says what they covered."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

# What is compiled with a fault in it, or for an emulated row, is nobody else's.
os.environ["SNIPJIT_CACHE"] = "0"

from tests.fuzz.check import Case, case_of, check
from tests.fuzz.faults import plant_all
from tests.fuzz.shrink import shrunk


def main() -> int:
    """0 where nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds (1000)")
    parser.add_argument("--compile", action="store_true", help="by torch.compile and export")
    parser.add_argument("--faults", action="store_true", help="plant faults and look for them")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    if options.faults:
        return plant_all(seeds)
    counts: Counter[tuple[str, str]] = Counter()
    wrong, begun = 0, time.time()
    for seed in seeds:
        case = case_of(seed, options.compile)
        outcome = check(case)
        _count(counts, case, outcome.fused, outcome.reasons)
        if outcome.problem is not None:
            wrong += 1
            _report(case, outcome.problem)
        if (seed + 1 - options.seed) % 100 == 0:
            print(f"# {seed + 1 - options.seed} seeds, {time.time() - begun:.0f} s", flush=True)
    _summary(counts, len(seeds), wrong)
    return 1 if wrong else 0


def _count(
    counts: Counter[tuple[str, str]], case: Case, fused: int, reasons: tuple[str, ...]
) -> None:
    eager = reasons == ("eager refuses",)
    outcome = "eager refuses" if eager else "fused" if fused else "refused"
    counts["outcome", outcome] += 1
    counts["target", case.target] += 1
    counts["trace", case.mode] += 1
    counts["type", case.program.inputs[0].dtype] += 1
    for name in case.program.notes:
        counts["op", name] += 1
    if outcome == "refused":
        for reason in reasons[:1]:
            counts["reason", reason.split("`")[-1].strip()[:90]] += 1


def _report(case: Case, problem: str) -> None:
    """Print the smallest program that shows a problem."""
    kind = problem.split(":")[0].split(" by ")[0]

    def is_wrong(other: Case) -> bool:
        found = check(other).problem
        return found is not None and found.startswith(kind)

    small = shrunk(case, is_wrong)
    print(f"\nWRONG: seed {case.seed}, {case.target}, {case.mode}: {problem}\n{small.program}")
    print(f"# {check(small).problem}\n", flush=True)


def _summary(counts: Counter[tuple[str, str]], seeds: int, wrong: int) -> None:
    for group in ("outcome", "type", "target", "trace", "op", "reason"):
        found = {name: n for (of, name), n in counts.most_common() if of == group}
        print(f"{group:8}" + ", ".join(f"{name} {n}" for name, n in found.items()))
    taken = counts["outcome", "fused"] + counts["outcome", "refused"]
    print(f"refused {counts['outcome', 'refused'] / max(taken, 1):.1%} of {taken}")
    print(f"{seeds} seeds, {wrong} wrong")


sys.exit(main())
