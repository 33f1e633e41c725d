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
    # The first change that the timeline does not have.
    as_of = datetime.fromisoformat(stop) - _MOMENT if stop else None
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
        index: int | None = len(self.branches) - 1 if self.branches else None
        while index is not None:
            branch = self.branches[index]
            end = _earlier(limit, self._end_of(index))
            if end is None or branch.since <= end:
                spans.append(Span(branch.since, end, branch.timeline))
            if branch.as_of is None:
                break
            limit = _earlier(limit, branch.as_of)
            index = self._last_of(branch.parent, before=index)
        return spans[::-1]

    def ranges(self) -> list[Span]:
        """Return the times that can be restored, the oldest first."""
        spans = self.spans()
        return [
            part
            for reach in self._reaches(spans)
            for span in spans
            if (part := _overlap(span, reach)) is not None
        ]

    def select_base(self, at: datetime) -> datetime:
        """Return the base backup to restore a time from. Raises EmbeddedPostgresError."""
        if not any(span.contains(at) for span in self.ranges()):
            raise EmbeddedPostgresError(f"{self._reason(at)}; {self.describe()}")
        return max(base for base in self._bases_on(self.spans()) if base <= at)

    def describe(self) -> str:
        """Say what can be restored, in whole seconds."""
        words = [_words(span) for span in _joined(self.ranges()) if _has_whole_second(span)]
        if not words:
            return "no time can be restored"
        return f"any time {' and '.join(words)} can be restored"

    def describe_left(self) -> list[str]:
        """Name the branches that were left."""
        return [_name(span) for span in self.left()]

    def needs_base(self) -> bool:
        """Whether the current branch, or the log since its last break, has no base backup yet."""
        spans = self.spans()
        newest = max(self._bases_on(spans), default=None)
        if newest is None or newest < self.branches[-1].since:
            return True
        return any(newest < moment for moment in self._breaks_on(spans))

    def left(self) -> list[Span]:
        """Return the times of branches, or of their ends, that the current one does not go on
        with."""
        spans = self.spans()
        gone: list[Span] = []
        for index, branch in enumerate(self.branches):
            end = self._end_of(index)
            went_on = [span.end for span in spans if span.start == branch.since]
            start = went_on[0] if went_on else branch.since
            if end is not None and start is not None and start < end:
                gone.append(Span(start, end, branch.timeline))
        return gone

    def _reason(self, at: datetime) -> str:
        moment = at.isoformat()
        for span in self.left():
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
        for base, later in zip_longest(bases, bases[1:]):
            end = min((moment for moment in breaks if moment >= base), default=None)
            yield Span(base, _earlier(end, later), 0)

    def _bases_on(self, spans: Sequence[Span]) -> list[datetime]:
        return [base for base in self.bases if any(span.contains(base) for span in spans)]

    def _breaks_on(self, spans: Sequence[Span]) -> list[datetime]:
        return [moment for moment in self.breaks if any(span.contains(moment) for span in spans)]

    def _end_of(self, index: int) -> datetime | None:
        following = index + 1
        if following == len(self.branches):
            return None
        return self.branches[following].since - _MOMENT

    def _last_of(self, timeline: int, *, before: int) -> int | None:
        for index in reversed(range(before)):
            if self.branches[index].timeline == timeline:
                return index
        return None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _overlap(span: Span, reach: Span) -> Span | None:
    start, end = max(span.start, reach.start), _earlier(span.end, reach.end)
    return Span(start, end, span.timeline) if end is None or start <= end else None


def _joined(ranges: Sequence[Span]) -> list[Span]:
    """Join ranges that touch."""
    joined: list[Span] = []
    for span in ranges:
        last = joined[-1] if joined else None
        if last and last.end is not None and span.start <= last.end + _MOMENT:
            joined[-1] = Span(last.start, span.end, span.timeline)
        else:
            joined.append(span)
    return joined


def _has_whole_second(span: Span) -> bool:
    return span.end is None or _rounded_up(span.start) <= span.end


def _rounded_up(at: datetime) -> datetime:
    """Return a whole second: an earlier one would be before the base backup."""
    begun = at.replace(microsecond=0)
    return begun if begun == at else begun + timedelta(seconds=1)


def _words(span: Span) -> str:
    start = _stamp(_rounded_up(span.start))
    return f"since {start}" if span.end is None else f"from {start} to {_stamp(span.end)}"


def _name(span: Span) -> str:
    end = "now" if span.end is None else _stamp(span.end)
    return f"timeline {span.timeline} from {_stamp(span.start)} to {end}"


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
