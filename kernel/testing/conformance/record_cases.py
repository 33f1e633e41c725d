"""What records of the kit may hold, and what is refused: values, filters, bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.testing.conformance.collection import GHOST, Row

SAME: list[Row] = [
    {"code": "O'Neil; drop table x --"}, {"code": "%_\\"}, {"code": "€ \U0001f511 \u202e"},
    {"amount": 0}, {"amount": -1.5}, {"amount": 1e300}, {"ready": False}, {"day": "2024-02-29"},
    {"details": {"a": [1, None, {"b": "c"}]}}, {"details": []}, {"details": "text"},
    {"ticket": "9f86d081-884c-4d63-a1cf-000000000001"}, {"tags": ["a", "", "b,c", '"{}']},
    {"tags": []}, {"sizes": [1, 2.5]}, {"kind": "Water's"}, {"state": "done"},
]  # fmt: skip
TAKEN: list[tuple[Row, Row]] = [
    ({"amount": "12.5"}, {"amount": 12.5}),
    ({"ready": "true"}, {"ready": True}),
    ({"amount": "", "ready": "", "day": ""}, {"amount": None, "ready": None, "day": None}),
    ({"code": ""}, {"code": ""}),
    ({"seen_at": "2024-01-15T10:30:00"}, {"seen_at": "2024-01-15T10:30:00Z"}),
    ({"seen_at": "2024-01-15T12:30:00+02:00"}, {"seen_at": "2024-01-15T10:30:00Z"}),
    ({"details": None}, {"details": None}),
]
BAD: list[tuple[Row, str]] = [
    ({}, "name"), ({"name": None}, "name"), ({"code": "x"}, "name"), ({"name": 5}, "name"),
    ({"name": "a", "nothing": 1}, "nothing"), ({"name": "a", "_owner": None}, "_owner"),
    ({"name": "a", "amount": "much"}, "amount"), ({"name": "a", "amount": True}, "amount"),
    ({"name": "a", "amount": float("nan")}, "amount"), ({"name": "a", "ready": 1}, "ready"),
    ({"name": "a", "ready": "yes"}, "ready"), ({"name": "a", "day": "30.02.2024"}, "day"),
    ({"name": "a", "seen_at": 5}, "seen_at"), ({"name": "a", "ticket": "x"}, "ticket"),
    ({"name": "a", "tags": "x"}, "tags"), ({"name": "a", "tags": [1]}, "tags"),
    ({"name": "a", "sizes": ["x"]}, "sizes"), ({"name": "a", "kind": "Gold"}, "kind"),
    ({"name": "a", "parent": GHOST}, "parent"), ({"name": "a", "state": None}, "state"),
    ({"name": "a\0"}, "."),
]  # fmt: skip
LOT: list[Row] = [
    {"name": "ada", "amount": 1, "ready": True, "tags": ["x", "y"], "code": "A%"},
    {"name": "bob", "amount": 2, "ready": False, "tags": ["y"], "day": "2024-05-01"},
    {"name": "cyd", "amount": 3, "tags": [], "kind": "Soil"},
    {"name": "Dan", "code": "b_"},
]
WHERES: list[tuple[Mapping[str, Any], str]] = [
    ({}, "ada bob cyd Dan"), ({"name": "bob"}, "bob"), ({"name": {"$eq": "bob"}}, "bob"),
    ({"name": {"$ne": "bob"}}, "ada cyd Dan"), ({"amount": {"$ne": 1}}, "bob cyd"),
    ({"amount": {"$gt": 1}}, "bob cyd"), ({"amount": {"$gte": "2"}}, "bob cyd"),
    ({"amount": {"$lt": 2}}, "ada"), ({"amount": {"$lte": 2, "$gt": 1}}, "bob"),
    ({"amount": None}, "Dan"), ({"amount": {"$isNull": False}}, "ada bob cyd"),
    ({"amount": {"$eq": None}}, "Dan"), ({"code": {"$like": "A%"}}, "ada"),
    ({"name": {"$ilike": "d%"}}, "Dan"), ({"name": {"$like": "d%"}}, ""),
    ({"name": {"$in": ["ada", "Dan", "x"]}}, "ada Dan"), ({"name": {"$in": []}}, ""),
    ({"name": {"$nin": ["ada"]}}, "bob cyd Dan"), ({"amount": {"$nin": [1]}}, "bob cyd"),
    ({"name": {"$nin": []}}, "ada bob cyd Dan"), ({"tags": {"$contains": ["y"]}}, "ada bob"),
    ({"tags": {"$contains": ["x", "y"]}}, "ada"), ({"ready": "false"}, "bob"),
    ({"$or": [{"name": "ada"}, {"amount": 3}]}, "ada cyd"), ({"$or": []}, ""),
    ({"$and": [{"amount": {"$gt": 1}}, {"ready": False}]}, "bob"),
    ({"$and": []}, "ada bob cyd Dan"), ({"$not": {"amount": {"$gt": 1}}}, "ada"),
    ({"day": {"$gte": "2024-01-01"}}, "bob"), ({"kind": "Soil", "amount": 3}, "cyd"),
    ({"created_at": {"$gt": "2001-01-01"}}, "ada bob cyd Dan"), ({"name": "' or 1=1 --"}, ""),
]  # fmt: skip
BAD_WHERES: list[Mapping[str, Any]] = [
    {"nothing": 1}, {"name": {"$regex": "x"}}, {"$xor": []}, {"amount": "much"},
    {"name": {"$in": "x"}}, {"$or": {}}, {"$not": []}, {"name": {}}, {"_owner": None},
    {'name" = name or "name': 1}, {"ready": {"$gt": "x"}}, {"id": "no uuid"},
    {"name": {"$in": ["x"] * 1001}},
]  # fmt: skip
BAD_BODIES: list[Any] = [[], {}, "x", None, {"name": "a", "nothing": 1}]
BAD_BULKS: list[Any] = [{}, [], [[]], [{"name": 1}]]
BAD_QUERIES: list[Any] = [{"where": {"nothing": 1}}, {"order": "up"}, {"limit": 0}, []]
