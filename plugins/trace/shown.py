"""What a caller may see of a tree of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from kernel.public import RequestTrace, TracedCall, TracedEvent, TracedJob

from .models import MAX_LISTED, Cause, ChangeCount, ShownRequest
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

    def _show(self, request_id: str, by: Cause | msgspec.UnsetType, seen: set[str]) -> ShownRequest:
        counts: Counter[tuple[str, str, str]] = Counter()
        actors: dict[str, None] = {}
        times: list[str] = []
        logs = 0
        parent: str | msgspec.UnsetType = msgspec.UNSET
        for part in self._parts(request_id):
            if part.parent is not None and part.app is not None and self._apps.has(part.app):
                parent = part.parent
            for change in part.changes:
                is_own = change.current or self._apps.sees_everything
                if not is_own or not self._apps.has(change.app):
                    continue
                counts[change.app, change.entity, change.operation] += change.count
                times += [change.first, change.last]
                if change.actor is not None:
                    actors[change.actor] = None
            logs += sum(count for app, count in part.logs.items() if self._apps.has(app))
        jobs = [*self._jobs(request_id)]
        calls = [*self._calls(request_id)]
        events = [*self._events(request_id)]
        for event in events:
            if event.actor is not None:
                actors[event.actor] = None
        times += [thing.at for thing in (*jobs, *calls, *events)]
        children: list[ShownRequest] = []
        for job in jobs:
            if job.id in self._tree and job.id not in seen:
                seen.add(job.id)
                child = self._show(job.id, Cause(job.id), seen)
                children.append(msgspec.structs.replace(child, parent=request_id))
        return ShownRequest(
            id=request_id,
            first=min(times, default=None),
            last=max(times, default=None),
            actors=[*actors],
            changes=[
                ChangeCount(app=app, entity=entity, operation=operation, count=count)
                for (app, entity, operation), count in sorted(counts.items())
            ],
            jobs=jobs[:MAX_LISTED],
            calls=calls[:MAX_LISTED],
            events=events[:MAX_LISTED],
            logs=logs,
            children=children,
            parent=parent,
            by=by,
        )

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
