"""Which times of a cluster can be restored: a pure function of its branches and base backups.

PostgreSQL numbers the timelines of a log. A restore begins a new one, at a point of an old one. A
cluster that was put aside, and is put back, goes on with its old one. Both begin a branch:

    branch 1, timeline 1   o-----+-------      left by a restore as of +
    branch 2, timeline 2         `---------    left when the former cluster was put back
    branch 3, timeline 1                 `----------->

Branch 3 goes on with what timeline 1 had at the end of branch 1. So the times of branches 1 and 3
can be restored, and those of branch 2 cannot. PostgreSQL's own history files have the points in the
log, but neither the times of service nor that a cluster was put back. So the archive has a list.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from plugins.postgres.config import EmbeddedPostgresError

# A file of PostgreSQL: a line for each ancestor, the parent last. A stop at a time has its reason.
_STOP = re.compile(r"^(\d+)\s+\S+\s*(?:before (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*))?", re.MULTILINE)

_MOMENT = timedelta(microseconds=1)


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A timeline that serves since a time.

    It goes on with what the timeline `parent` had at the time `as_of`. Without that time, nothing
    from before can be restored.
    """

    timeline: int
    since: datetime
    parent: int = 0
    as_of: datetime | None = None


class Origin(NamedTuple):
    """Where a timeline began, by PostgreSQL's history file: its parent, and up to when it is
    that one's."""

    parent: int
    as_of: datetime | None


class Span(NamedTuple):
    """Times from `start` to `end`, both included; without an end it goes on."""

    start: datetime
    end: datetime | None
    timeline: int

    def contains(self, at: datetime) -> bool:
        """Whether a time is one of these."""
        return self.start <= at and (self.end is None or at <= self.end)


def read_origin(history: str) -> Origin | None:
    """Read a history file of PostgreSQL; None without a parent."""
    lines = _STOP.findall(history)
    if not lines:
        return None
    parent, stop = lines[-1]
    as_of = None
    if stop:
        # The time of the first change that the timeline does not have.
        as_of = datetime.fromisoformat(stop) - _MOMENT
    return Origin(int(parent), as_of)


def next_branch(
    branches: Sequence[Branch], timeline: int, now: datetime, origin: Origin | None
) -> Branch | None:
    """Return the branch that begins when a timeline serves; None if that is the current one."""
    if not branches:
        return Branch(timeline=timeline, since=now)
    if branches[-1].timeline == timeline:
        return None
    # A clock that was set back must not mix up their order.
    since = max(now, branches[-1].since)
    for index in reversed(range(len(branches))):
        if branches[index].timeline == timeline:
            end = branches[index + 1].since - _MOMENT
            return Branch(timeline=timeline, since=since, parent=timeline, as_of=end)
    if origin is None:
        return Branch(timeline=timeline, since=since)
    return Branch(timeline=timeline, since=since, parent=origin.parent, as_of=origin.as_of)


@dataclass(frozen=True)
class Lineage:
    """The branches of a cluster, and the times of its base backups.

    At a time of `breaks` the log breaks off: its next segments are missing, but not the later ones.
    """

    branches: Sequence[Branch]
    bases: Sequence[datetime]
    breaks: Sequence[datetime] = ()

    def spans(self) -> list[Span]:
        """Return the times that the current branch goes on with, and its own; the oldest first."""
        spans: list[Span] = []
        limit: datetime | None = None
        index: int | None = None
        if self.branches:
            index = len(self.branches) - 1
        while index is not None:
            branch = self.branches[index]
            end = _select_earlier(limit, self._end_of(index))
            if end is None or branch.since <= end:
                spans.append(Span(branch.since, end, branch.timeline))
            if branch.as_of is None:
                break
            limit = _select_earlier(limit, branch.as_of)
            index = self._find_last(branch.parent, before=index)
        return spans[::-1]

    def ranges(self) -> list[Span]:
        """Return the times that can be restored, the oldest first."""
        spans = self.spans()
        ranges: list[Span] = []
        for reach in self._reaches(spans):
            for span in spans:
                overlap = _overlap(span, reach)
                if overlap is not None:
                    ranges.append(overlap)
        return ranges

    def select_base(self, at: datetime) -> datetime:
        """Return the base backup to restore a time from. Raises EmbeddedPostgresError."""
        if not any(span.contains(at) for span in self.ranges()):
            raise EmbeddedPostgresError(f"{self._reason(at)}; {self.describe()}")
        return max(base for base in self._bases_on(self.spans()) if base <= at)

    def describe(self) -> str:
        """Say what can be restored, in whole seconds."""
        ranges = [span for span in _join(self.ranges()) if _has_whole_second(span)]
        if not ranges:
            return "no time can be restored"
        descriptions = [_describe_range(span) for span in ranges]
        return f"any time {' and '.join(descriptions)} can be restored"

    def describe_abandoned(self) -> list[str]:
        """Name the branches that were left."""
        return [_name(span) for span in self.abandoned()]

    def needs_base(self) -> bool:
        """Whether the current branch, or the log since its last break, has no base backup yet."""
        spans = self.spans()
        newest = max(self._bases_on(spans), default=None)
        if newest is None or newest < self.branches[-1].since:
            return True
        return any(newest < moment for moment in self._breaks_on(spans))

    def abandoned(self) -> list[Span]:
        """Return the times of branches, or of their ends, that the current one does not go on
        with."""
        ends = {span.start: span.end for span in reversed(self.spans())}
        abandoned: list[Span] = []
        for index, branch in enumerate(self.branches):
            end = self._end_of(index)
            # Of a branch that was gone on with, what follows is left.
            start = ends.get(branch.since, branch.since)
            if end is not None and start is not None and start < end:
                abandoned.append(Span(start, end, branch.timeline))
        return abandoned

    def _reason(self, at: datetime) -> str:
        moment = at.isoformat()
        for span in self.abandoned():
            if span.contains(at):
                return f"{moment} is on a branch that was left ({_name(span)})"
        spans = self.spans()
        oldest = min(self._bases_on(spans), default=None)
        if oldest is None:
            return "there is no base backup before that time: the archive has none"
        if at < oldest:
            return f"there is no base backup before that time: the oldest is of {_stamp(oldest)}"
        return f"the archive lacks a part of the log between {moment} and the base backup before it"

    def _reaches(self, spans: Sequence[Span]) -> Iterator[Span]:
        """Yield what can be restored from each base backup, as far as the next one."""
        bases = sorted(self._bases_on(spans))
        breaks = self._breaks_on(spans)
        for base, next_base in zip_longest(bases, bases[1:]):
            next_break = min((moment for moment in breaks if moment >= base), default=None)
            yield Span(base, _select_earlier(next_break, next_base), 0)

    def _bases_on(self, spans: Sequence[Span]) -> list[datetime]:
        return [base for base in self.bases if any(span.contains(base) for span in spans)]

    def _breaks_on(self, spans: Sequence[Span]) -> list[datetime]:
        return [moment for moment in self.breaks if any(span.contains(moment) for span in spans)]

    def _end_of(self, index: int) -> datetime | None:
        next_index = index + 1
        if next_index == len(self.branches):
            return None
        return self.branches[next_index].since - _MOMENT

    def _find_last(self, timeline: int, *, before: int) -> int | None:
        for index in reversed(range(before)):
            if self.branches[index].timeline == timeline:
                return index
        return None


def _select_earlier(bound: datetime | None, second_bound: datetime | None) -> datetime | None:
    """Return the earlier one of two times; None is no bound."""
    if bound is None:
        return second_bound
    if second_bound is None:
        return bound
    return min(bound, second_bound)


def _overlap(span: Span, reach: Span) -> Span | None:
    start = max(span.start, reach.start)
    end = _select_earlier(span.end, reach.end)
    if end is not None and end < start:
        return None
    return Span(start, end, span.timeline)


def _join(ranges: Sequence[Span]) -> list[Span]:
    """Join ranges that touch."""
    joined: list[Span] = []
    for span in ranges:
        if joined and _touches(joined[-1], span):
            joined[-1] = Span(joined[-1].start, span.end, span.timeline)
        else:
            joined.append(span)
    return joined


def _touches(former: Span, span: Span) -> bool:
    return former.end is not None and span.start <= former.end + _MOMENT


def _has_whole_second(span: Span) -> bool:
    return span.end is None or _round_up(span.start) <= span.end


def _round_up(time: datetime) -> datetime:
    """Return a whole second: an earlier one would be before the base backup."""
    rounded_down = time.replace(microsecond=0)
    if rounded_down == time:
        return time
    return rounded_down + timedelta(seconds=1)


def _describe_range(span: Span) -> str:
    start = _stamp(_round_up(span.start))
    if span.end is None:
        return f"since {start}"
    return f"from {start} to {_stamp(span.end)}"


def _name(span: Span) -> str:
    end = "now"
    if span.end is not None:
        end = _stamp(span.end)
    return f"timeline {span.timeline} from {_stamp(span.start)} to {end}"


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
