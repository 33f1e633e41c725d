"""GET /api/v1/audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernel.public import (
    ACCESS,
    ANY_USER,
    APPS,
    AUDIT,
    HOOKS,
    RECORDS,
    STATEMENTS,
    AuditFilter,
    BadRequest,
    Request,
    Response,
    Route,
    Services,
    Target,
    entity,
    nearest,
    one_of,
    read_limit,
    reply,
    whole_number,
)

from .history import RecordHistory
from .models import AuditRow, HistoryEntry, HistoryPage, HistoryQuery
from .service import reads_own_app_only

PARAMETERS = AuditFilter.__struct_fields__


class AuditRoutes:
    """The trail over HTTP."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare them. Which user may read what depends on `app_id`, so the handler asks."""
        return [
            Route(
                "GET", "/api/v1/audit", self.search, ANY_USER,
                returns=list[AuditRow], query=AuditFilter, errors=(403, 404),
            ),
            Route(
                "GET", "/api/v1/apps/{app_id}/collections/{entity}/{id}/history", self.history,
                entity("read"), returns=list[HistoryEntry], query=HistoryQuery, app_hosts=True,
            ),
        ]  # fmt: skip

    async def search(self, request: Request) -> Response:
        """Query the audit trail, newest first.

        Core admins read all of it, admins of an app that of their app (`app_id` is needed then).
        """
        query = request.query()
        access = self._services.get(ACCESS)
        is_bound_to_app = await reads_own_app_only(access, request.actor, query.get("app_id"))
        criteria = _read_criteria(query, is_bound_to_app=is_bound_to_app)
        rows = await self._services.get(AUDIT).search(criteria)
        return reply(rows)

    async def history(self, request: Request) -> Response:
        """List the changes of a record since its creation, newest first: those of readable fields.

        They are changes that the caller could have seen: none of another record that had the id,
        and none of a time when the record was out of the caller's reach.
        """
        query = request.query()
        unknown_names = query.keys() - {"limit", "before"}
        if unknown_names:
            raise BadRequest(f"unknown parameter {min(unknown_names)!r}")
        before = _read_before(query)
        limit = read_limit(query.get("limit"), default=100)
        page = HistoryPage(before=before, limit=limit)
        services = self._services
        history = RecordHistory(
            services.get(STATEMENTS), services.get(RECORDS), services.get(APPS), services.get(HOOKS)
        )
        app_id = request.path("app_id")
        entity = request.path("entity")
        target = Target(request.actor, request.grant, app_id, entity)
        record = await history.find_record(target, request.path("id"))
        changes = await history.read(record, page)
        return reply(changes)


def _read_criteria(query: Mapping[str, str], *, is_bound_to_app: bool) -> AuditFilter:
    for name in query:
        if name not in PARAMETERS:
            raise BadRequest(f"unknown parameter {name!r}; {nearest(name, PARAMETERS)}")
    current = one_of("current", query.get("current", "false"), ("true", "false"))
    return AuditFilter(
        app_id=query.get("app_id"),
        entity=query.get("entity"),
        record_id=query.get("record_id"),
        operation=query.get("operation"),
        actor_id=query.get("actor_id"),
        request_id=query.get("request_id"),
        current=current == "true" or is_bound_to_app,
        before=_read_before(query),
        limit=read_limit(query.get("limit"), default=100),
    )


def _read_before(query: Mapping[str, str]) -> int | None:
    """Return the id of the last entry that the caller has seen."""
    if "before" not in query:
        return None
    return whole_number("before", query["before"])
