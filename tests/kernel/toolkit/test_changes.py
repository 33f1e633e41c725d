"""Changes are cut into parts that one statement takes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kernel.public import CommittedChange, cut_before_fill, cut_changes
from kernel.toolkit import changes


def make_change(number: int, size: int = 2) -> CommittedChange:
    return CommittedChange(
        id=number, app_id="crm", entity="notes", record_id=str(number), operation="INSERT",
        old=None, new=b"x" * size, owner_before=None, owner_after=None, actor=None, request=None,
        at="2026-01-01T00:00:00Z", transaction=number, position=str(number),
    )  # fmt: skip


def ids_of_parts(*sizes: int) -> list[list[int]]:
    given = [make_change(number, size) for number, size in enumerate(sizes)]
    return [[change.id for change in part] for part in cut_changes(given)]


def test_parts_hold_every_change_once_and_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MAX_PART_CHANGES", 2)
    assert ids_of_parts() == []
    assert ids_of_parts(1, 1, 1, 1, 1) == [[0, 1], [2, 3], [4]]


def test_a_part_ends_before_it_is_too_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MAX_PART_BYTES", 10)
    assert ids_of_parts(5, 5, 1) == [[0, 1], [2]]


def test_a_change_that_is_too_large_is_a_part_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MAX_PART_BYTES", 10)
    assert ids_of_parts(3, 50, 3) == [[0], [1], [2]]


def ids_to_judge(*given: CommittedChange) -> list[list[int]]:
    return [[change.id for change in part] for part in cut_before_fill(given)]


def test_a_change_that_may_be_filled_is_a_part_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MAX_JUDGED", 2)
    large = replace(make_change(3), replaced=("text",))
    assert ids_to_judge() == []
    small = [make_change(number) for number in (0, 1, 2, 4)]
    assert ids_to_judge(*small[:3], large, large, small[3]) == [[0, 1], [2], [3], [3], [4]]


@pytest.mark.parametrize(("copies", "sizes"), [(1, [4, 4, 2]), (2, [2] * 5), (50, [1] * 10)])
def test_a_part_to_judge_has_a_bound_in_bytes_for_all_copies(copies: int, sizes: list[int]) -> None:
    """Each subscription of an entity has events of its own."""
    page = [
        replace(make_change(number), old=b"x" * 100_000, new=b"x" * 150_000) for number in range(10)
    ]
    assert [len(part) for part in cut_before_fill(page, copies)] == sizes
