"""Compute due times: five fields in a time zone, across changes of daylight saving time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kernel.public import BootError

try:
    from cronsim import CronSim, CronSimError
except ImportError as error:
    raise BootError(
        "plugin cron", "the package cronsim is not installed", "pip install 'cronsim>=2.6'"
    ) from error

LOCAL_ZONES: Final = ("localtime", "posixrules", "Factory")
"""Files among the time zones that depend on the machine, or mean nothing."""


class BadSchedule(ValueError):
    """An invalid schedule or time zone; `key` says which of the two."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(f"{key}: {sentence}")
        self.key = key
        self.sentence = sentence


class Passed(NamedTuple):
    """The latest due time that has passed, the number of earlier ones, and the next one."""

    latest: datetime | None
    missed: int
    next: datetime


class Schedule:
    """A cron expression in a time zone. Raises BadSchedule.

    Changes of daylight saving time follow Debian's cron. A skipped time is due right after the gap,
    a repeated one the first time only. When minutes or hours begin with `*`, elapsed time counts.
    """

    def __init__(self, text: str, timezone: str) -> None:
        self._text = text
        self._zone = zone_of(timezone)
        if len(text.split()) != 5:
            sentence = "must be five fields: minute, hour, day of month, month, day of week"
            raise BadSchedule("schedule", sentence)
        try:
            self.after(datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise BadSchedule("schedule", f"{str(error).lower()} in {text!r}") from None

    def after(self, moment: datetime) -> datetime:
        """Return the first due time after a moment, in UTC."""
        for due in self._times(moment):
            return due
        raise BadSchedule("schedule", f"{self._text!r} never comes")

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """Return the first due times after a moment, in UTC; fewer where the schedule ends."""
        return list(islice(self._times(moment), count))

    def find_passed(self, due: datetime, now: datetime, oldest: datetime) -> Passed:
        """Return the due times that have passed since `due`, without those before `oldest`."""
        latest: datetime | None = None
        count = 0
        if due >= oldest:
            latest = due
            count = 1
        for moment in self._times(max(due, oldest)):
            if moment > now:
                return Passed(latest, max(0, count - 1), moment)
            latest = moment
            count += 1
        raise BadSchedule("schedule", f"{self._text!r} never comes again")

    def _times(self, moment: datetime) -> Iterator[datetime]:
        # CronSim repeats a time that comes twice: yield only later ones.
        for local_time in CronSim(self._text, moment.astimezone(self._zone)):
            utc = local_time.astimezone(UTC)
            if utc > moment:
                moment = utc
                yield utc


@lru_cache(maxsize=1000)
def zone_of(name: str) -> tzinfo:
    """Return a zone of the IANA database. Raises BadSchedule."""
    if name == "UTC":
        return UTC
    try:
        if name in LOCAL_ZONES:
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        sentence = f"{name!r} is no time zone: a name such as UTC or Europe/Paris is wanted"
        raise BadSchedule("timezone", sentence) from None
