"""When a cron is due: fields, zones, changes of the clocks."""

import contextlib
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrib.cron.schedule import BadSchedule, Schedule, zone_of


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: str, zone: str, start: str, count: int) -> list[str]:
    """Due times in UTC after a moment in UTC, as the server finds them: one after the other."""
    found, at = [], moment(start)
    for _ in range(count):
        at = Schedule(schedule, zone).after(at)
        found.append(at.strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("schedule", "start", "due"),
    [
        ("* * * * *", "2026-03-01T00:00:30", ["03-01 00:01", "03-01 00:02"]),
        ("*/20 9-10 * * *", "2026-03-01T09:30", ["03-01 09:40", "03-01 10:00"]),
        ("0 2 * * MON-FRI", "2026-03-06T12:00", ["03-09 02:00", "03-10 02:00"]),
        ("0 0 29 2 *", "2026-01-01", ["02-29 00:00"]),
        ("0 0 13 * FRI", "2026-02-01", ["02-06 00:00", "02-13 00:00"]),
        ("0 0 L * *", "2026-01-05", ["01-31 00:00", "02-28 00:00"]),
        ("0 0 * * MON#1", "2026-01-05T01:00", ["02-02 00:00"]),
        ("5 4 1 JAN,JUL *", "2026-01-01T05:00", ["07-01 04:05", "01-01 04:05"]),
    ],
)
def test_five_fields(schedule, start, due):
    assert times(schedule, "UTC", start, len(due)) == due


def test_a_zone_moves_the_time():
    assert times("30 9 * * *", "Asia/Kolkata", "2026-01-01T00:00", 1) == ["01-01 04:00"]
    assert times("0 9 * * *", "Europe/Paris", "2026-01-10T12:00", 1) == ["01-11 08:00"]
    assert times("0 9 * * *", "Europe/Paris", "2026-07-10T12:00", 1) == ["07-11 07:00"]


# In Paris the clocks go from 2:00 to 3:00 on 29 March 2026, and from 3:00 to 2:00 on 25 October.


def test_a_time_that_the_clocks_skip_is_due_right_after_the_gap():
    due = times("30 2 * * *", "Europe/Paris", "2026-03-28T00:00", 3)
    assert due == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_comes_twice_is_due_once():
    due = times("30 2 * * *", "Europe/Paris", "2026-10-24T00:00", 3)
    assert due == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_after_its_first_coming_a_time_is_not_due_again_by_its_second():
    # 2:10 in winter time: what comes next by the clock, 2:30, was due an hour ago.
    assert times("30 2 * * *", "Europe/Paris", "2026-10-25T01:10", 1) == ["10-26 01:30"]


def test_what_counts_minutes_goes_on_through_both_changes():
    for start in ("2026-03-29T00:00", "2026-10-25T00:00"):
        found, at = [], moment(start)
        for _ in range(8):
            at = Schedule("*/30 * * * *", "Europe/Paris").after(at)
            found.append(at)
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=30)}


@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */5 * * *", "15 1-3 * * *", "0 0 * * SUN"]),
    st.sampled_from(["UTC", "Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe"]),
    st.integers(1_262_304_000, 2_051_222_400),  # 2010 to 2035
)
def test_due_times_grow_whatever_the_clocks_do(schedule, zone, start):
    at = datetime.fromtimestamp(start, UTC)
    for _ in range(20):
        later = Schedule(schedule, zone).after(at)
        assert later > at
        assert later.second == later.microsecond == 0
        at = later


@pytest.mark.parametrize(
    "schedule",
    ["", "*", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 32 * *", "* * * 13 *",
     "* * * * 8", "*/0 * * * *", "a * * * *", "5-1 * * * *", "@daily", "0 0 31 2 *",
     "0 0 30 2 *", "1,,2 * * * *", "- * * * *", "¹ * * * *", "0 0 * * MON#6"],
)  # fmt: skip
def test_a_bad_schedule_is_refused(schedule):
    with pytest.raises(BadSchedule) as found:
        Schedule(schedule, "UTC")
    assert found.value.key == "schedule"


@given(
    st.lists(
        st.text("0123456789*/,-#LWMONJAN", min_size=1, max_size=12), min_size=5, max_size=5
    ).map(" ".join)
)
def test_any_text_is_a_schedule_or_refused_in_little_time(text):
    began = time.process_time()
    with contextlib.suppress(BadSchedule):
        assert Schedule(text, "Europe/Paris").after(moment("2026-01-01")) > moment("2026-01-01")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "zone",
    ["", "Nowhere/City", "Europe", "../../etc/passwd", "/etc/localtime", "localtime", "UTC\0", "é"],
)
def test_a_bad_zone_is_refused(zone):
    with pytest.raises(BadSchedule) as found:
        Schedule("* * * * *", zone)
    assert found.value.key == "timezone"


def test_a_zone_is_found_by_its_name():
    assert zone_of("UTC") is UTC
    assert str(zone_of("Europe/Paris")) == "Europe/Paris"


def test_what_has_come_is_one_run_that_counts_those_before_it():
    hourly = Schedule("0 * * * *", "UTC")
    now = moment("2026-01-10T12:30")
    oldest = now - timedelta(hours=5)
    on_time = hourly.find_passed(moment("2026-01-10T12:00"), now, oldest)
    assert on_time == (moment("2026-01-10T12:00"), 0, moment("2026-01-10T13:00"))
    late = hourly.find_passed(moment("2026-01-10T09:00"), now, oldest)
    assert late == (moment("2026-01-10T12:00"), 3, moment("2026-01-10T13:00"))
    long = hourly.find_passed(moment("2025-01-10T09:00"), now, oldest)
    assert long == (moment("2026-01-10T12:00"), 4, moment("2026-01-10T13:00"))


def test_what_is_too_old_is_not_made_up_for():
    daily = Schedule("0 6 * * *", "UTC")
    now = moment("2026-01-10T12:30")
    passed = daily.find_passed(moment("2026-01-10T06:00"), now, now - timedelta(hours=1))
    assert passed == (None, 0, moment("2026-01-11T06:00"))


def test_a_year_without_a_server_costs_no_time():
    began = time.process_time()
    now = moment("2026-01-10T12:30")
    passed = Schedule("* * * * *", "Europe/Paris").find_passed(
        moment("2020-01-01"), now, now - timedelta(days=2)
    )
    assert (passed.latest, passed.missed) == (now, 2 * 24 * 60 - 1)
    assert time.process_time() - began < 1
