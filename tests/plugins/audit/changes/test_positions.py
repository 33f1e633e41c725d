"""Positions as text: each has one form, and nothing else is one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.public import MAX_POSITION, BadRequest, Unavailable
from plugins.audit.changes.moments import MAX_OPEN, Moment, Snapshot, read_snapshot
from plugins.audit.changes.positions import (
    Place,
    Position,
    PositionWriter,
    hash_name,
    read_position,
    write_position,
)

SERVER = hash_name("server")
BRANCH = hash_name("server-1-2-3")
NUMBERS = st.integers(1, 2**40)


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    """Moments as PostgreSQL has them: floors grow with the numbers."""
    numbers = sorted(draw(st.sets(NUMBERS, max_size=20)))
    floors = sorted(draw(st.integers(0, 2**40)) for _ in range(len(numbers) + 1))
    xmax = draw(NUMBERS) + (numbers[-1] if numbers else 0)
    return Moment(
        xmax=xmax,
        last_id=floors[-1] + draw(NUMBERS),
        open=dict(zip(numbers, floors[:-1], strict=True)),
        late=floors[-1],
        own=draw(st.sampled_from([0, xmax, xmax + 5])),
    )


@given(moments())
def test_a_moment_comes_back(begin: Moment) -> None:
    position = Position(server=SERVER, branch=BRANCH, begin=begin)
    text = write_position(position)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert read_position(text) == position


@given(moments(), st.integers(1, 2**50), st.integers(1, 2**50), st.data())
def test_a_place_between_two_moments_comes_back(
    begin: Moment, transaction_end: int, row_id: int, data: st.DataObject
) -> None:
    open_later = data.draw(st.sets(st.integers(begin.xmax, begin.xmax + 100), max_size=9))
    later = Snapshot(
        branch="b",
        xmax=begin.xmax + 101,
        open=tuple(sorted(open_later | set(list(begin.open)[:2]))),
        last_id=begin.last_id + 7,
    )
    position = Position(
        server=SERVER,
        branch=BRANCH,
        begin=begin,
        end=begin.lead_to(later),
        place=Place(transaction_end, row_id),
    )
    assert read_position(write_position(position)) == position


@given(st.text(max_size=300))
def test_other_texts_are_no_positions(text: str) -> None:
    with pytest.raises(BadRequest, match="position"):
        read_position(text)


@given(moments(), st.data())
def test_a_changed_or_cut_text_is_no_position(begin: Moment, data: st.DataObject) -> None:
    position = Position(server=SERVER, branch=BRANCH, begin=begin, end=begin, place=Place(5, 4))
    text = write_position(position)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Az09_-"))
    changed = text[:place] + other + text[place + 1 :]
    for wrong in (text[:place], text + other, changed):
        if wrong == text:
            continue
        try:
            assert write_position(read_position(wrong)) == wrong
        except BadRequest:
            continue
        # One byte in 256 passes for the check of a place; never for that of what is before it.
        assert wrong.startswith(PositionWriter(position).prefix[:-4])


def test_with_as_many_open_transactions_as_can_be_it_has_a_bound() -> None:
    numbers = range(1_000_000, 1_000_000 + 30_000 * MAX_OPEN, 30_000)
    xmax = numbers[-1] + 9
    begin = Moment(
        xmax=xmax,
        last_id=2**45,
        open={number: 7_000 * number for number in numbers},
        late=7_000 * xmax,
        own=xmax + 1000,
    )
    later = Snapshot(branch="b", xmax=xmax, open=tuple(numbers), last_id=2**45)
    position = Position(
        server=SERVER,
        branch=BRANCH,
        begin=begin,
        end=begin.lead_to(later),
        place=Place(2**45, 2**45),
    )
    text = write_position(position)
    assert len(text) <= MAX_POSITION
    read = read_position(text)
    assert write_position(read) == text
    # Floors may be lower than they need be, never higher.
    assert all(read.begin.open[number] <= begin.open[number] for number in numbers)


def test_more_open_transactions_are_waited_for() -> None:
    numbers = ",".join(map(str, range(10, 11 + MAX_OPEN)))
    with pytest.raises(Unavailable, match="open"):
        read_snapshot(f"1-2-3-00000001 10:1000:{numbers} 5")


def test_a_standby_has_no_positions() -> None:
    with pytest.raises(Unavailable, match="standby"):
        read_snapshot("standby 10:10: 5")
