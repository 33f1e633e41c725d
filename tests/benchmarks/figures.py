"""What is measured, and how two measurements become ratios."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Protocol

import msgspec


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one round. Times in seconds; None where it cannot be reported."""

    rate: float
    """Requests, jobs or transactions a second."""
    server_cpu: float | None = None
    """Processor time for one of them, of the server and its workers."""
    database_cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    memory: float | None = None
    """MB of the server and its workers, afterwards."""


class Contender(Protocol):
    """A server that is measured."""

    @property
    def name(self) -> str:
        """The name in tables."""
        ...

    def measure(self, seconds: float) -> Measured:
        """Work for about so long."""
        ...


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """One contender against another in one case: every column is ours divided by theirs."""

    case: str
    ours: str
    against: str
    rate: float | None
    server_cpu: float | None
    database_cpu: float | None
    p50: float | None
    p99: float | None
    memory: float | None


class Case:
    """Contenders that do the same; the first `own` of them are compared with all others."""

    def __init__(self, name: str, ours: Sequence[Contender], others: Sequence[Contender]) -> None:
        self.name = name
        self._ours, self._others = ours, others
        self._turns: list[Contender] = [*ours, *others]
        self.measured: dict[str, list[Measured]] = {}

    def round(self, seconds: float) -> None:
        """Measure every contender once, one after the other, and the next time from the last on."""
        for contender in self._turns:
            self.measured.setdefault(contender.name, []).append(contender.measure(seconds))
        self._turns.reverse()

    def together(self, seconds: float) -> None:
        """Measure every contender once, all at the same time."""
        with ThreadPoolExecutor(len(self._turns)) as pool:
            measured = pool.map(lambda contender: contender.measure(seconds), self._turns)
            for contender, one in zip(self._turns, measured, strict=True):
                self.measured.setdefault(contender.name, []).append(one)

    def ratios(self) -> list[Ratio]:
        """Each of ours against each of the others."""
        return [
            ratio(self.name, one.name, self.measured[one.name], two.name, self.measured[two.name])
            for one in self._ours
            for two in self._others
        ]


def ratio(
    case: str, ours: str, measured: Sequence[Measured], against: str, other: Sequence[Measured]
) -> Ratio:
    """Divide medians by medians."""
    found = {
        name: _divided(middle(measured, name), middle(other, name))
        for name in Measured.__struct_fields__
    }
    return Ratio(case=case, ours=ours, against=against, **found)


def middle(measured: Sequence[Measured], name: str) -> float | None:
    """The median of a column."""
    values = [value for one in measured if (value := getattr(one, name)) is not None]
    return median(values) if values else None


def _divided(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
