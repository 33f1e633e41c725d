"""The marks of `@for_subjects` and `@subjects_from`, and what they match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kernel.contracts.server.hooks import Subjects


def read_subjects(function: Callable[..., Any]) -> Subjects:
    """Read the marks of an implementation."""
    method = getattr(function, "caudex_subjects_from", "")
    owner = getattr(function, "__self__", None)
    return Subjects(
        fixed=getattr(function, "caudex_subjects", ("*",)),
        find=getattr(owner, method, None),
        wants_old=getattr(function, "caudex_old", False),
    )


def matches_any(subject: str, patterns: Iterable[str]) -> bool:
    """Whether a subject (`crm.contacts`) matches a pattern (`crm.*`)."""
    return any(_matches(subject, pattern) for pattern in patterns)


def _matches(subject: str, pattern: str) -> bool:
    if pattern.endswith(".*"):
        return subject.startswith(pattern[:-1])
    return pattern in ("*", subject)
