"""How long the reader of the trail rests, by figures alone."""

from __future__ import annotations

from plugins.audit.changes.following.pace import BURST, LONGEST, SHARE, WAITED, Pace


def run(pace: Pace, seconds: float, pause: float, count: int, now: float = 100.0) -> float:
    """Let batches of so many seconds follow each other, and return what share of it all they had.

    The reader rests as long as it has to, at least for the pause.
    """
    began = now
    for _ in range(count):
        now += seconds
        pace.note(now, seconds, seconds)
        now += max(pause, pace.rest)
    return count * seconds / (now - began)


def test_single_changes_wait_for_nothing() -> None:
    pace = Pace()
    run(pace, 0.003, 0.03, 1000)
    assert pace.rest == 0.0


def test_batches_without_a_break_have_their_share() -> None:
    share = run(Pace(), 0.01, 0.005, 1000)
    assert abs(share - 1 / SHARE) < 0.01


def test_waiting_for_a_processor_counts_to_a_bound() -> None:
    pace = Pace()
    pace.note(100.0, 10.0, 0.01)
    assert abs(pace.rest - ((SHARE - 1) * WAITED * 0.01 - BURST)) < 1e-9


def test_a_rest_has_a_bound() -> None:
    pace = Pace()
    run(pace, 5.0, 0.0, 10)
    assert abs(pace.rest - LONGEST) < 1e-9


def test_what_was_owed_is_over_after_a_pause() -> None:
    pace = Pace()
    run(pace, 5.0, 0.0, 10)
    now = 100.0 + 10 * (5.0 + LONGEST) + LONGEST + BURST
    run(pace, 0.003, 0.0, 1, now)
    assert pace.rest == 0.0
