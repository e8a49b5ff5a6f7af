"""How many cases a run draws, and the count of what they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

from tests.properties.case import Case

CaseT = TypeVar("CaseT")


@dataclass(frozen=True)
class Effort:
    """The size of a run.

    Attributes:
        forward_cases: How many cases of Forward for each kind of layer.
        gradient_cases: How many cases of Gradient for each loss with each of its reductions.
        vector_cases: How many cases of Gradient with grad_output alone.
        jvp_cases: How many cases of Jvp for each kind of layer.
        hvp_cases: How many cases of Hvp for each loss with each of its reductions.
        weighted_hvp_cases: How many cases of Hvp with grad_output alone.
        mixes: How many times several requests at once.
        floor: How often each choice must have been answered.
        seed: What hypothesis draws from.
    """

    forward_cases: int
    gradient_cases: int
    vector_cases: int
    jvp_cases: int
    hvp_cases: int
    weighted_hvp_cases: int
    mixes: int
    floor: int
    seed: int

    def run(self, title: str, cases: SearchStrategy[CaseT], check: Callable[[CaseT], None], count: int) -> None:
        """Check so many cases, and shrink one that fails; each title has random numbers of its own."""
        limits = settings(
            max_examples=count,
            database=None,
            deadline=None,
            # Not the explaining one: a server's answer depends on no line of the test.
            phases=[Phase.generate, Phase.shrink],
            # A case calls a server, and the stacks of layers are large strategies.
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
        )

        @hypothesis.seed(f"{title} {self.seed}")
        @limits
        @hypothesis.given(case=cases)
        def every_case(case: CaseT) -> None:
            check(case)

        every_case()


@dataclass(frozen=True)
class Tally:
    """Counts of what was drawn and answered.

    Attributes:
        title: What the counts are of.
        counts: How often each pair of group and choice came.
        outcomes: How often the server answered, and how often it and torch refused.
    """

    title: str
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case) -> None:
        """Count a case that was answered."""
        self.outcomes["answered"] += 1
        self.counts.update(case.choices())

    def rare(self, floor: int, expected: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The choices, expected or met, that came less often than the floor."""
        return {choice: self.counts[choice] for choice in {*expected, *self.counts} if self.counts[choice] < floor}

    def table(self) -> Iterator[str]:
        """The lines of a table: one for each group, with the count of each choice."""
        yield f"{self.title}: " + ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        for group in dict.fromkeys(group for group, _ in sorted(self.counts)):
            yield f"  {group}"
            chosen = {choice: count for (of, choice), count in self.counts.items() if of == group}
            yield from (f"    {count:6d}  {choice}" for choice, count in sorted(chosen.items()))
