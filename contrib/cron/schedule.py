"""When a cron is due: five fields in a time zone, over changes of the clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kernel.public import BootError

try:
    from cronsim import CronSim, CronSimError
except ImportError as error:
    raise BootError(
        "plugin cron", "the package cronsim is not installed", "pip install 'cronsim>=2.6'"
    ) from error

FIELDS: Final = 5
MACHINES_OWN: Final = ("localtime", "posixrules", "Factory")
"""Files among the time zones that mean another thing on every machine, or nothing."""


class BadSchedule(ValueError):
    """A schedule or time zone that cannot be used; `key` names which of the two."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(f"{key}: {sentence}")
        self.key = key
        self.sentence = sentence


class Passed(NamedTuple):
    """The due times that have come: the latest of them, how many before it, and the next one."""

    latest: datetime | None
    missed: int
    next: datetime


class Schedule:
    """A time is due once in a year's shift of the clocks as well.

    Debian's cron is the model: a time that the clocks skip is due right after the gap, one that
    comes twice is due the first time only. Where minutes or hours begin with `*`, what counts is
    the time that passes. Raises BadSchedule.
    """

    def __init__(self, text: str, timezone: str) -> None:
        self._text = text
        self._zone = zone_of(timezone)
        if len(text.split()) != FIELDS:
            said = "must be five fields: minute, hour, day of month, month, day of week"
            raise BadSchedule("schedule", said)
        try:
            self.after(datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise BadSchedule("schedule", f"{str(error).lower()} in {text!r}") from None

    def after(self, moment: datetime) -> datetime:
        """The first due time after a moment, in UTC."""
        for found in self._times(moment):
            return found
        raise BadSchedule("schedule", f"{self._text!r} never comes")

    def passed(self, due: datetime, now: datetime, oldest: datetime) -> Passed:
        """What has come from `due` on. A time before `oldest` is not counted, nor made up for."""
        latest, count = (due, 1) if due >= oldest else (None, 0)
        for found in self._times(max(due, oldest)):
            if found > now:
                return Passed(latest, max(0, count - 1), found)
            latest, count = found, count + 1
        raise BadSchedule("schedule", f"{self._text!r} never comes again")

    def _times(self, moment: datetime) -> Iterator[datetime]:
        # A time that comes twice is found again by its first coming: what is not later is no news.
        for found in CronSim(self._text, moment.astimezone(self._zone)):
            if (utc := found.astimezone(UTC)) > moment:
                moment = utc
                yield utc


@lru_cache(maxsize=1000)
def zone_of(name: str) -> tzinfo:
    """A zone of the IANA database. Raises BadSchedule."""
    if name == "UTC":
        return UTC
    try:
        if name in MACHINES_OWN:
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        said = f"{name!r} is no time zone: a name such as UTC or Europe/Paris is wanted"
        raise BadSchedule("timezone", said) from None
