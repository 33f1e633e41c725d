"""What health and `caudex doctor` say of the sealing."""

from __future__ import annotations

from typing import Final

from kernel.public import Finding, Health

LATE: Final = 3600
"""Seconds after which a row that is not sealed is a finding."""
NO_KEY: Final = "The audit trail is not sealed by this server: its key is missing."
BEHIND: Final = "The sealing of the audit trail is behind."
NO_WITNESS: Final = "The witness of the audit trail does not accept seals."


def report_health(*, has_key: bool, is_behind: bool, witness_fails: bool) -> Health:
    """Report the sealing of this process; nothing of it keeps a server out of service."""
    conditions = {NO_KEY: not has_key, BEHIND: is_behind, NO_WITNESS: witness_fails}
    problems = tuple(text for text, holds in conditions.items() if holds)
    return Health(name="audit", problems=problems)


def report_sealing(oldest_age: str | None) -> Finding:
    """Report the age in seconds of the oldest row that is not sealed."""
    if oldest_age is None or int(oldest_age) < LATE:
        return Finding(name="audit trail", text="sealed up to the last hour or later")
    hours = int(oldest_age) // 3600
    text = f"a row of {hours} hours ago is not sealed: see the log of the servers for the reason"
    return Finding(name="audit trail", text=text, state="warn")
