"""What a caller may see of a tree of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from kernel.public import MAX_PAGE, RequestTrace, TracedCall, TracedChanges, TracedEvent, TracedJob

from .models import Cause, ChangeCount, ShownRequest
from .service import RequestTree


class VisibleApps(msgspec.Struct, frozen=True):
    """The apps whose part of a request a caller sees; None for all, and the system's own part."""

    names: Collection[str] | None

    def has(self, app: str) -> bool:
        """Whether the caller sees the part of an app."""
        return self.names is None or app in self.names

    @property
    def sees_everything(self) -> bool:
        """Whether the caller sees what the system did, and what former apps did."""
        return self.names is None


class TreeView:
    """Shows the requests of a tree to one caller."""

    def __init__(self, tree: RequestTree, apps: VisibleApps) -> None:
        self._tree = tree
        self._apps = apps

    def show(self, request_id: str) -> ShownRequest | None:
        """Show a request with what its jobs did; None where there is nothing to see."""
        shown = self._show(request_id, msgspec.UNSET, {request_id})
        is_empty = not (
            shown.changes or shown.jobs or shown.calls or shown.events or shown.logs
        ) and not any(self._apps.has(part.app) for part in self._parts(request_id) if part.app)
        return None if is_empty else shown

    def _parts(self, request_id: str) -> Sequence[RequestTrace]:
        return self._tree.get(request_id, ())

    def _show(
        self, request_id: str, by: Cause | msgspec.UnsetType, shown_ids: set[str]
    ) -> ShownRequest:
        """Show a request and what its jobs caused; `shown_ids` are those that are shown already."""
        changes = [*self._changes(request_id)]
        jobs = [*self._jobs(request_id)]
        calls = [*self._calls(request_id)]
        events = [*self._events(request_id)]

        times = [action.at for action in (*jobs, *calls, *events)]
        for change in changes:
            times += [change.first, change.last]
        actors = [action.actor for action in (*changes, *events) if action.actor is not None]
        counts: Counter[tuple[str, str, str]] = Counter()
        for change in changes:
            counts[change.app, change.entity, change.operation] += change.count

        children: list[ShownRequest] = []
        for job in jobs:
            if job.id in self._tree and job.id not in shown_ids:
                shown_ids.add(job.id)
                child = self._show(job.id, Cause(job.id), shown_ids)
                children.append(msgspec.structs.replace(child, parent=request_id))
        return ShownRequest(
            id=request_id,
            first=min(times, default=None),
            last=max(times, default=None),
            actors=[*dict.fromkeys(actors)],
            changes=[
                ChangeCount(app=app, entity=entity, operation=operation, count=count)
                for (app, entity, operation), count in sorted(counts.items())
            ],
            jobs=jobs[:MAX_PAGE],
            calls=calls[:MAX_PAGE],
            events=events[:MAX_PAGE],
            logs=self._count_logs(request_id),
            children=children,
            parent=self._find_parent(request_id),
            by=by,
        )

    def _find_parent(self, request_id: str) -> str | msgspec.UnsetType:
        parent: str | msgspec.UnsetType = msgspec.UNSET
        for part in self._parts(request_id):
            if part.parent is not None and part.app is not None and self._apps.has(part.app):
                parent = part.parent
        return parent

    def _count_logs(self, request_id: str) -> int:
        return sum(
            count
            for part in self._parts(request_id)
            for app, count in part.logs.items()
            if self._apps.has(app)
        )

    def _changes(self, request_id: str) -> Iterator[TracedChanges]:
        """Yield counts of changes, without those of a former app of the same name."""
        for part in self._parts(request_id):
            for change in part.changes:
                is_current = change.current or self._apps.sees_everything
                if is_current and self._apps.has(change.app):
                    yield change

    def _jobs(self, request_id: str) -> Iterator[TracedJob]:
        for part in self._parts(request_id):
            yield from (job for job in part.jobs if self._apps.has(job.app))

    def _calls(self, request_id: str) -> Iterator[TracedCall]:
        for part in self._parts(request_id):
            yield from (call for call in part.calls if self._apps.has(call.app))

    def _events(self, request_id: str) -> Iterator[TracedEvent]:
        for part in self._parts(request_id):
            if self._apps.sees_everything:
                yield from part.events
