from __future__ import annotations

from dataclasses import dataclass

from snipjit.passes.base import Pass, run_pipeline


@dataclass(frozen=True)
class Append(Pass):
    letter: str = "a"

    def run(self, ir: str) -> str:
        return ir + self.letter


@dataclass(frozen=True)
class Double(Pass):
    def run(self, ir: str) -> str:
        return ir * 2


def test_passes_run_in_order() -> None:
    assert run_pipeline((Append("x"), Double(), Append("y")), "") == "xxy"


def test_until_is_the_last_to_run() -> None:
    assert run_pipeline((Append("x"), Double(), Append("y")), "", until="Double") == "xx"


def test_every_outcome_is_dumped_before_it_is_verified() -> None:
    log: list[str] = []
    run_pipeline(
        (Append("x"), Double()),
        "",
        verify=lambda ir: log.append(f"verify {ir}"),
        dump=lambda step, ir: log.append(f"{step.name} {ir}"),
    )
    assert log == ["Append x", "verify x", "Double xx", "verify xx"]
