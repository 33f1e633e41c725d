"""`Accept`: which of the types that a route has the caller prefers."""

from __future__ import annotations

import random

import pytest

from kernel.web.parameters import preferred_type

JSON, CSV, LINES = "application/json", "text/csv", "application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("", None),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv; charset=utf-8; header=present", CSV),
        ("application/json, text/csv", JSON),
        ("text/csv, application/json", CSV),
        ("application/json, text/plain, */*", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("*/*, text/csv", CSV),
        ("text/csv, */*", CSV),
        ("text/csv;q=0.5, */*", JSON),
        ("text/csv;q=0.5, application/json", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.1, application/x-ndjson;q=0.9", LINES),
        ("text/csv ; Q=0.1 , application/x-ndjson", LINES),
        ("text/csv;q=0", None),
        ("text/csv;q=0.000, */*;q=0.001", JSON),
        ("application/json;q=0, */*", CSV),
        ("*/*;q=0", None),
        ("text/*;q=0.3, text/csv;q=0, application/x-ndjson;q=0.2", LINES),
        ("text/csv;q=1.000", CSV),
        ("text/csv;q=2, application/x-ndjson;q=0.1", LINES),
        ("text/csv;q=x", None),
        ("text/csv;q=", None),
        ("text/csv;q=-1", None),
        ("text/csv;q=0.1234", None),
        ("image/png", None),
        (",;=,/", None),
    ],
)
def test_the_weight_decides_then_who_is_named_then_who_is_named_first(
    accept: str, preferred: str | None
) -> None:
    assert preferred_type(accept, (JSON, CSV, LINES)) == preferred


def test_the_order_of_parts_with_different_weights_does_not_matter() -> None:
    chance = random.Random(21)
    kinds = (JSON, CSV, LINES, "text/*", "application/*", "*/*", "image/png")
    for _ in range(300):
        weights = chance.sample(range(1001), len(kinds))
        parts = [f"{kind};q={weight / 1000}" for kind, weight in zip(kinds, weights, strict=True)]
        parts = chance.sample(parts, chance.randint(1, len(parts)))
        expected = preferred_type(", ".join(parts), (JSON, CSV, LINES))
        chance.shuffle(parts)
        assert preferred_type(",".join(parts), (JSON, CSV, LINES)) == expected
