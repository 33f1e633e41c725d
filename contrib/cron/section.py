"""The section `crons` of manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from .models import Declared
from .schedule import BadSchedule, Schedule

KEY: Final = "crons"


def _schema_of(kind: str, title: str, description: str, **keywords: Any) -> dict[str, Any]:
    """Return the schema of a value of a kind, such as `string`."""
    return {"title": title, "description": description, "type": kind, **keywords}


OVERLAP: Final = {
    "title": "Overlap",
    "description": (
        "What happens while the previous run's job has not ended. skip: this run is skipped. "
        "queue: it waits. allow: both run."
    ),
    "enum": ["skip", "queue", "allow"],
    "default": "skip",
}
_PROPERTIES: Final = {
    "name": _schema_of(
        "string", "Name", "Its name in URLs and in the run log.",
        pattern="^[A-Za-z0-9_-]+$", maxLength=64,
    ),
    "schedule": _schema_of(
        "string", "Schedule", "Minute, hour, day of month, month, day of week: 30 2 * * MON-FRI",
        maxLength=100,
    ),
    "timezone": _schema_of(
        "string", "Time zone", "A name of the IANA database: Europe/Paris",
        pattern="^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", maxLength=64, default="UTC",
    ),
    "method": _schema_of(
        "string", "Job", "Which job of the worker: `type` and `method` of the payload.",
        minLength=1, maxLength=200,
    ),
    "payload": _schema_of(
        "object", "Payload", "Passed to the job, with `cron` added: its name and due time.",
        default={},
    ),
    "overlap": OVERLAP,
    "overlapPolicy": {**OVERLAP, "description": "Another name of overlap."},
    "enabled": _schema_of(
        "boolean", "Enabled", "Admins can also enable and disable it while the app is installed.",
        default=True,
    ),
}  # fmt: skip
SCHEMA: Final[dict[str, Any]] = {
    "title": "Crons",
    "description": "Jobs that are enqueued on a schedule.",
    "type": "array",
    "maxItems": 100,
    "items": {
        "title": "Cron",
        "type": "object",
        "required": ["name", "schedule"],
        "additionalProperties": False,
        "properties": _PROPERTIES,
    },
}


def problems(value: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Find problems that the schema cannot express: (location, sentence) pairs."""
    names: set[str] = set()
    for number, cron in enumerate(value):
        location = f"[{number}]"
        name = cron["name"]
        if name in names:
            yield f"{location}.name", f"the cron {name!r} is declared twice"
        names.add(name)
        if "overlap" in cron and "overlapPolicy" in cron:
            yield f"{location}.overlapPolicy", "is given twice, the other time as overlap"
        if len(msgspec.json.encode(cron.get("payload"))) > 64_000:
            yield f"{location}.payload", "must be at most 64 kB of JSON"
        try:
            Schedule(cron["schedule"], cron.get("timezone", "UTC"))
        except BadSchedule as error:
            yield f"{location}.{error.key}", error.sentence


def read(value: list[dict[str, Any]] | None) -> list[Declared]:
    """Read a valid section."""
    return [_parse(cron) for cron in value or ()]


def _parse(cron: dict[str, Any]) -> Declared:
    payload: dict[str, Any] = dict(cron.get("payload", {}))
    method = cron.get("method")
    if method:
        payload = {"type": method, **payload, "method": method}
    return Declared(
        name=cron["name"],
        schedule=" ".join(cron["schedule"].split()),
        timezone=cron.get("timezone", "UTC"),
        overlap=cron.get("overlap", cron.get("overlapPolicy", "skip")),
        payload=payload,
        enabled=cron.get("enabled", True),
    )
