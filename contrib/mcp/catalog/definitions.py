"""The tools, in the order in which agents see them.

Names, descriptions and schemas are constant: nothing that an app or a user wrote is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contrib.mcp.models import Tool

from .arguments import (
    APP,
    DRY_RUN,
    ENTITY,
    NAMES,
    OFFSET,
    OPERATION,
    ORDER,
    RECORD,
    SEARCH,
    WHERE,
    describe,
    limit,
)

MAX_OPERATIONS: Final = 100
"""Operations of one call of mutate_data."""
UNDO: Final = ("POST", "/api/v1/apps/{app_id}/undo")

_QUERY: Final[Mapping[str, Any]] = {
    "app": APP,
    "entity": ENTITY,
    "where": WHERE,
    "fields": describe("array", "Names of the fields to show: only these and id.", items=NAMES),
    "expand": describe("array", "Links whose records to show, at most 3 deep.", items=NAMES),
    "orderBy": describe("string", "A field to sort by; created_at by default."),
    "order": ORDER,
    "limit": limit(50, 1000, "records"),
    "offset": OFFSET,
    "after": describe("string", "Id of the last record seen, with the same order."),
    "total": describe("boolean", "False: do not count the records that match."),
}

LIST_APPS: Final = Tool(
    name="list_apps",
    title="List apps",
    description="List the installed apps with the names of their entities. Begin here.",
    properties={},
    right="any",
)
DESCRIBE_APP: Final = Tool(
    name="describe_app",
    title="Describe an app",
    description=(
        "Show the entities of an app that the caller may use, with fields, links and unique keys, "
        "the actions of its worker, and examples of calls. Use it before the first query."
    ),
    properties={"app": APP, "entity": describe("string", "Show this entity only.")},
    required=("app",),
    right="app",
)
QUERY_DATA: Final = Tool(
    name="query_data",
    title="Query records",
    description=(
        "Read records of an entity that match a filter. Of a long answer the first records are "
        "shown, and how to go on."
    ),
    properties=_QUERY,
    required=("app", "entity"),
)
AGGREGATE_DATA: Final = Tool(
    name="aggregate_data",
    title="Count, sum and group records",
    description=(
        "Compute numbers over records, by groups or over all. Prefer it to reading records: the "
        "database counts all of them."
    ),
    properties={
        "app": APP,
        "entity": ENTITY,
        "where": WHERE,
        "search": SEARCH,
        "groupBy": describe(
            "array",
            'Fields, or units of time as {"$month": "created_at"} ($hour, $day, $week, $month, '
            "$quarter, $year).",
            items={"anyOf": [{"type": "string"}, {"type": "object"}]},
        ),
        "aggregate": describe(
            "object",
            'Names of numbers and how to compute each: {"records": {"$count": "*"}, "total": '
            '{"$sum": "amount"}}; $count, $countDistinct, $sum, $avg, $min, $max.',
            additionalProperties={"type": "object"},
        ),
        "having": describe("object", "A filter over the groups, as where."),
        "orderBy": describe("string", "A member of the groups."),
        "order": ORDER,
        "limit": limit(100, 1000, "groups"),
        "offset": OFFSET,
        "timezone": describe("string", "IANA name for units of time; UTC by default."),
        "total": describe("boolean", "False: do not count the groups."),
    },
    required=("app", "entity", "aggregate"),
)
SEARCH_DATA: Final = Tool(
    name="search_data",
    title="Search records for words",
    description=(
        "Find records by words in their texts, the best matches first. The entity must have a "
        "search (see describe_app); else use query_data with $ilike."
    ),
    properties={
        "app": APP,
        "entity": ENTITY,
        "search": SEARCH,
        "where": WHERE,
        "fields": _QUERY["fields"],
        "limit": limit(20, 1000, "records"),
        "offset": OFFSET,
    },
    required=("app", "entity", "search"),
)
MUTATE_DATA: Final = Tool(
    name="mutate_data",
    title="Create, change and delete records",
    description=(
        "Run up to 100 writes in one transaction: all of them or none. Show the user what you are "
        "going to change, and try it with dryRun first. The result has the id of the request, by "
        "which it can be found in the trail and undone."
    ),
    properties={
        "app": APP,
        "operations": describe(
            "array", "The writes, in order.", items=OPERATION, minItems=1, maxItems=MAX_OPERATIONS
        ),
        "dryRun": DRY_RUN,
        "max": describe(
            "integer", "Refuse the call if it has more operations than this.", minimum=1,
            maximum=MAX_OPERATIONS, default=MAX_OPERATIONS,
        ),
        "expect": describe(
            "integer", "Refuse the call unless it has just so many operations.", minimum=1,
            maximum=MAX_OPERATIONS,
        ),
    },
    required=("app", "operations"),
    right="write",
    writes=True,
)  # fmt: skip
CALL_ACTION: Final = Tool(
    name="call_action",
    title="Call an action of an app",
    description=(
        "Call a method of the app's worker that its manifest declares among the actions (see "
        "describe_app). It runs code of the app and may do anything that this code does."
    ),
    properties={
        "app": APP,
        "method": describe("string", "The method of the action.", minLength=1),
        "params": describe("object", "Its parameters, as the action describes them."),
    },
    required=("app", "method"),
    right="app",
    writes=True,
    reaches_out=True,
)
ENQUEUE_JOB: Final = Tool(
    name="enqueue_job",
    title="Enqueue a background job",
    description="Give the worker of an app a job. It runs later, with code of the app.",
    properties={
        "app": APP,
        "payload": describe("object", "What the worker gets; `type` chooses its handler."),
        "run_at": describe("string", "Not before this time (RFC 3339)."),
        "key": describe("string", "While a job with this key waits or runs, no second one begins."),
        "priority": describe("integer", "Higher ones run first."),
        "timeout_s": describe("number", "Seconds that the job may take."),
        "max_attempts": describe("integer", "How often it is tried.", minimum=1),
    },
    required=("app", "payload"),
    right="app",
    writes=True,
    reaches_out=True,
)
EXPLAIN_PERMISSION: Final = Tool(
    name="explain_permission",
    title="Explain a permission",
    description="Say whether a user may do something, and through which roles.",
    properties={
        "app": APP,
        "entity": ENTITY,
        "action": describe("string", "What to do.", enum=["create", "read", "update", "delete"]),
        "user": describe("string", "Id of a user; the caller by default."),
        "record": describe("string", "Id of a record: is it within reach?"),
    },
    required=("app", "entity", "action"),
    right="app",
)
HISTORY: Final = Tool(
    name="history",
    title="Show the history of a record",
    description="List the changes of a record, newest first, with old and new values.",
    properties={
        "app": APP,
        "entity": ENTITY,
        "id": RECORD,
        "limit": limit(20, 1000, "changes"),
        "before": describe("integer", "Id of the last change seen."),
    },
    required=("app", "entity", "id"),
)
UNDO_REQUEST: Final = Tool(
    name="undo",
    title="Undo a request",
    description=(
        "Take back what one request of the caller changed, in one transaction. Try it with dryRun "
        "first. What others changed later is left alone, and refuses the undo."
    ),
    properties={
        "app": APP,
        "request": describe(
            "string", "Id of the request, as in the result of mutate_data.", minLength=1
        ),
        "dryRun": DRY_RUN,
    },
    required=("app", "request"),
    right="write",
    writes=True,
    is_idempotent=True,
    route=UNDO,
)
AUDIT_SEARCH: Final = Tool(
    name="audit_search",
    title="Search the audit trail",
    description="Find who changed what, newest first; for admins of the app or of the server.",
    properties={
        "app_id": describe("string", "Rows of this app, or core; admins of an app must name it."),
        "entity": describe("string", "Rows of this entity."),
        "record_id": describe("string", "Rows about this record."),
        "operation": describe("string", "INSERT, UPDATE, DELETE, LOGIN and so on."),
        "actor_id": describe("string", "What this user did."),
        "request_id": describe("string", "What this request did."),
        "before": describe("integer", "Id of the last row seen."),
        "limit": limit(20, 1000, "rows"),
    },
    right="admin",
)

TOOLS: Final = (
    LIST_APPS, DESCRIBE_APP, QUERY_DATA, AGGREGATE_DATA, SEARCH_DATA, MUTATE_DATA, CALL_ACTION,
    ENQUEUE_JOB, EXPLAIN_PERMISSION, HISTORY, UNDO_REQUEST, AUDIT_SEARCH,
)  # fmt: skip
"""Every tool, in the order of the list."""
