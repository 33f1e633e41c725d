"""Which times can be restored, after restores and former clusters that were put back."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.postgres import EmbeddedPostgresError
from plugins.postgres.archiving.branches import (
    Branch,
    Lineage,
    Origin,
    Span,
    next_branch,
    read_origin,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def second(number: int) -> datetime:
    return BEGIN + timedelta(seconds=number)


@dataclass
class Cluster:
    """A cluster of the model: its timeline, and the seconds of its past."""

    timeline: int
    past: set[int] = field(default_factory=set[int])


class World:
    """A model of clusters that are restored and put back. A second passes with each step."""

    def __init__(self) -> None:
        self.now = 0
        self.current = Cluster(1)
        self.aside: list[Cluster] = []
        self.bases: list[int] = []
        self.timelines = 1
        self.branches = [Branch(timeline=1, since=second(0))]
        self.pass_time()

    def pass_time(self) -> None:
        """The current cluster serves for a second."""
        self.current.past.add(self.now)
        self.now += 1

    @property
    def lineage(self) -> Lineage:
        return Lineage(self.branches, [second(base) for base in self.bases])

    def back_up(self) -> None:
        """Make a base backup."""
        self.bases.append(self.now)

    def restore(self, at: int) -> None:
        """Replace the cluster by itself as it was at a second."""
        self.timelines += 1
        self.branches.append(
            Branch(
                timeline=self.timelines,
                since=second(self.now),
                as_of=second(at),
                parent=self.current.timeline,
            )
        )
        self.aside.append(self.current)
        past = {moment for moment in self.current.past if moment <= at}
        self.current = Cluster(self.timelines, past)

    def put_back(self, number: int) -> None:
        """Serve from a cluster that was put aside."""
        if not self.aside:
            return
        self.aside.append(self.current)
        self.current = self.aside.pop(number % len(self.aside))
        branch = next_branch(self.branches, self.current.timeline, second(self.now), None)
        self.branches += [branch] if branch else []

    def can_be_restored(self, at: int) -> bool:
        """Whether the log of the current cluster has a second, and a base backup before it."""
        past = self.current.past
        return at in past and any(base in past and base <= at for base in self.bases)


STEPS = st.lists(
    st.one_of(
        st.just(("pass", 0)),
        st.just(("back up", 0)),
        st.tuples(st.just("restore"), st.integers(0, 60)),
        st.tuples(st.just("put back"), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_time_is_restored_if_the_current_cluster_has_it_and_is_refused_otherwise(
    steps: list[tuple[str, int]],
) -> None:
    world = World()
    world.back_up()
    world.pass_time()
    for step, number in steps:
        if step == "back up":
            world.back_up()
        elif step == "restore" and world.can_be_restored(number):
            world.restore(number)
        elif step == "put back":
            world.put_back(number)
        world.pass_time()

    lineage = world.lineage
    for at in range(world.now):
        if world.can_be_restored(at):
            assert lineage.select_base(second(at)) == second(
                max(base for base in world.bases if base in world.current.past and base <= at)
            )
        else:
            with pytest.raises(EmbeddedPostgresError):
                lineage.select_base(second(at))
    latest = max(base for base in world.bases if base in world.current.past)
    began = (world.branches[-1].since - BEGIN).seconds
    assert lineage.needs_base() == (latest < began)
    for span in lineage.abandoned():
        assert (span.start - BEGIN).seconds not in world.current.past or span.start in {
            branch.as_of for branch in world.branches
        }


def restored() -> Lineage:
    """A cluster that was restored at 50 as of 20, with a base backup before and after."""
    branches = [
        Branch(timeline=1, since=second(0)),
        Branch(timeline=2, since=second(50), parent=1, as_of=second(20)),
    ]
    return Lineage(branches, [second(10), second(60)])


def test_a_time_that_only_a_branch_has_that_was_left_is_refused_by_name() -> None:
    with pytest.raises(EmbeddedPostgresError) as caught:
        restored().select_base(second(30))
    assert str(caught.value) == (
        "2026-01-01T00:00:30+00:00 is on a branch that was left "
        "(timeline 1 from 2026-01-01T00:00:20+00:00 to 2026-01-01T00:00:49+00:00); "
        "any time from 2026-01-01T00:00:10+00:00 to 2026-01-01T00:00:20+00:00 "
        "and since 2026-01-01T00:00:50+00:00 can be restored"
    )
    assert restored().select_base(second(20)) == second(10)
    assert restored().select_base(second(55)) == second(10)
    assert restored().select_base(second(70)) == second(60)


def test_after_the_way_back_the_former_branch_is_restored_and_the_other_is_refused() -> None:
    lineage = restored()
    branch = next_branch(lineage.branches, 1, second(80), None)
    assert branch
    back = Lineage([*lineage.branches, branch], lineage.bases)
    assert back.needs_base()
    assert back.select_base(second(30)) == second(10)
    assert back.select_base(second(90)) == second(10)
    with pytest.raises(EmbeddedPostgresError, match=r"was left \(timeline 2 from .*00:00:50"):
        back.select_base(second(70))


def test_a_base_backup_of_a_branch_that_was_left_is_not_used() -> None:
    lineage = restored()
    only_left = Lineage(lineage.branches, [second(30)])
    assert only_left.ranges() == []
    assert only_left.needs_base()
    with pytest.raises(EmbeddedPostgresError, match=r"no base backup .* no time can be restored"):
        only_left.select_base(second(70))


def test_a_log_that_breaks_off_ends_what_can_be_restored_until_the_next_base_backup() -> None:
    branches = [Branch(timeline=1, since=second(0))]
    broken = Lineage(branches, [second(10)], [second(30)])
    assert broken.needs_base()
    assert broken.ranges() == [Span(second(10), second(30), 1)]
    with pytest.raises(EmbeddedPostgresError, match="lacks a part of the log"):
        broken.select_base(second(31))
    covered = Lineage(branches, [second(10), second(40)], [second(30)])
    assert not covered.needs_base()
    assert covered.select_base(second(41)) == second(40)
    with pytest.raises(EmbeddedPostgresError, match="lacks a part of the log"):
        covered.select_base(second(35))


def test_a_break_of_a_branch_that_was_left_changes_nothing() -> None:
    lineage = restored()
    broken = Lineage(lineage.branches, lineage.bases, [second(30)])
    assert broken.ranges() == lineage.ranges()
    assert not broken.needs_base()


@pytest.mark.parametrize(
    ("history", "origin"),
    [
        ("", None),
        ("1\t0/3000130\tbefore 2026-01-01 00:00:20.000001+00\n\n", Origin(1, second(20))),
        ("1\t0/1\tbefore 2026-01-01 00:00:01+00\n\n2\t0/2\tno recovery target specified\n",
         Origin(2, None)),
        ("7\t0/3000130\tafter transaction 735", Origin(7, None)),
    ],
)  # fmt: skip
def test_the_parent_of_a_timeline_is_read_from_postgresqls_history_file(
    history: str, origin: Origin | None
) -> None:
    assert read_origin(history) == origin


def test_a_timeline_that_was_made_without_us_goes_on_with_its_parent_as_far_as_is_known() -> None:
    first = [Branch(timeline=1, since=second(0))]
    assert next_branch([], 1, second(0), None) == first[0]
    assert next_branch(first, 1, second(9), None) is None
    other = next_branch(first, 2, second(9), Origin(1, second(5)))
    assert other == Branch(timeline=2, since=second(9), parent=1, as_of=second(5))
    unknown = next_branch(first, 2, second(9), None)
    assert unknown
    assert Lineage([*first, unknown], [second(3)]).ranges() == []


def test_a_clock_that_was_set_back_keeps_the_order_of_branches() -> None:
    branches = restored().branches
    branch = next_branch(branches, 1, second(3), None)
    assert branch
    assert branch.since == branches[-1].since
