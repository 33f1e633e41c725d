"""Coercion: the right type or an unambiguous text, and nothing is changed in silence."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.public import BadRequest, ValueKind, coerce_value

KINDS: tuple[ValueKind, ...] = get_args(ValueKind)

GOOD: list[tuple[ValueKind, Any, Any]] = [
    ("text", "", ""),
    ("text", "5", "5"),
    ("number", 5, 5),
    ("number", 2**53, 2**53),
    ("number", 10**20, 10**20),
    ("number", 1152921504606847000, 1152921504606847000),  # 2**60 as JavaScript writes it
    ("number", "-123456789012345680000", -123456789012345680000),
    ("number", "-9007199254740994", -9007199254740994),
    ("number", 1e20, 1e20),
    ("number", "1.5", 1.5),
    ("number", "-1e3", -1000.0),
    ("number", "+.5", 0.5),
    ("number", "0", 0),
    ("number", "0e0", 0.0),
    ("boolean", True, True),
    ("boolean", "false", False),
    ("date", "2024-02-29", "2024-02-29"),
    ("date", "0001-01-01", "0001-01-01"),
    ("timestamp", "2024-01-15T10:30:00Z", "2024-01-15T10:30:00+00:00"),
    ("timestamp", "2024-01-15t10:30:00z", "2024-01-15T10:30:00+00:00"),
    ("timestamp", "2024-01-15 10:30:00.5+01", "2024-01-15T09:30:00.500000+00:00"),
    ("timestamp", "2024-01-15T10:30:00.123456000", "2024-01-15T10:30:00.123456+00:00"),
    ("timestamp", "2024-01-15", "2024-01-15T00:00:00+00:00"),
    ("json", {"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
    ("json", False, False),
    ("uuid", "3FA85F64-5717-4562-B3FC-2C963F66AFA6", "3fa85f64-5717-4562-b3fc-2c963f66afa6"),
    ("texts", [], []),
    ("texts", ["", "a"], ["", "a"]),
    ("numbers", [1, "2.5"], [1, 2.5]),
]
BAD: list[tuple[ValueKind, list[Any]]] = [
    ("text", [1, True, [], {}, "a\0"]),
    (
        "number",
        [True, "x", "NaN", "inf", "1_000", " 1", "1,5", "0x10", "١", "1e999", "-1e400", "1e-999",
         2**53 + 1, -(2**53) - 1, str(2**53 + 1), "9" * 500, math.inf, math.nan, [], {}, "."],
    ),
    ("boolean", [0, 1, "True", "yes", "1", "t", [], "on"]),
    (
        "date",
        ["2024-02-30", "0000-01-01", "10000-01-01", "2024-1-1", "15.01.2024", "today", 0,
         "2024-01-15T10:00:00Z", "20240115", "2024-W01-1"],
    ),
    (
        "timestamp",
        ["now", "infinity", 1705314600, "2024-01-15T25:00:00Z", "2024-01-15T10:30:60Z",
         "2024-01-15T10:30:00.1234567Z", "0001-01-01T00:00:00+01:00", "2024-01-15T10Z",
         "9999-12-31T23:59:59-01:00", "2024-01-15T10:30:00 CET", "2024-01-15T10:30:00+25:00"],
    ),
    ("uuid", ["x", "3fa85f6457174562b3fc2c963f66afa6", 5, [], "3fa85f64-5717-4562-b3fc-2c963f66"]),
    ("texts", ["a", [1], [None], ["a", ["b"]], {"0": "a"}, ["a\0"]]),
    ("numbers", [1, ["x"], [None], [True], [""], [[1]], [2**60 + 1], [1152921504606847001]]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "stored"), GOOD)
def test_the_right_type_or_an_unambiguous_text_is_taken(kind: ValueKind, value: Any, stored: Any):
    found = coerce_value(kind, value, "t.f")
    assert (found, type(found)) == (stored, type(stored))


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, bad in BAD for value in bad])
def test_everything_else_is_refused_by_field_type_and_value(kind: ValueKind, value: Any):
    with pytest.raises(BadRequest) as refusal:
        coerce_value(kind, value, "t.f")
    assert refusal.value.message.startswith("t.f: ")
    assert " wanted, not " in refusal.value.message
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_null_and_an_empty_text_are_null(kind: ValueKind):
    assert coerce_value(kind, None, "t.f") is None
    assert coerce_value(kind, "", "t.f") == ("" if kind == "text" else None)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,5})?(e[+-]?[0-9]{1,4})?", fullmatch=True)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{1,12}(Z|[+-][0-9:]{2,5})?)?"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(kind=st.sampled_from(KINDS), value=JSON)
def test_any_value_is_kept_or_refused_in_words(kind: ValueKind, value: Any):
    try:
        found = coerce_value(kind, value, "t.f")
    except BadRequest:
        return
    if value is None or (value == "" and kind != "text"):
        assert found is None
    elif kind in ("text", "json"):
        assert found == value
    elif kind in ("texts", "numbers"):
        assert len(found) == len(value)
    elif kind == "boolean":
        assert found is value or str(found).lower() == value
    elif kind == "number" and not isinstance(value, str):
        assert (found, type(found)) == (value, type(value))
    elif kind == "number":
        assert float(found) == float(value)
    msgspec.json.encode(found)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_as_a_text(number: float):
    assert coerce_value("number", repr(number), "t.f") == number


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
)
def test_a_timestamp_is_the_same_instant(moment: datetime, minutes: int):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = coerce_value("timestamp", moment.isoformat(), "t.f")
    assert datetime.fromisoformat(found) == moment
    assert datetime.fromisoformat(found).tzinfo == UTC


@given(st.dates())
def test_a_date_is_the_same_day(day: date):
    assert coerce_value("date", day.isoformat(), "t.f") == day.isoformat()


@given(st.uuids())
def test_a_uuid_is_the_same(value: UUID):
    assert coerce_value("uuid", str(value).upper(), "t.f") == str(value)
