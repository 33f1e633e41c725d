"""Edits the manifest of an app step by step, and takes steps back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from kernel.public import Actor, BadRequest, NotFound, Statements, Transaction
from plugins.apps import store
from plugins.apps.catalog import TOPIC
from plugins.apps.errors import ManagedByFiles, ManifestChanged
from plugins.apps.models import Change, Manifest
from plugins.apps.service import AppsService

from .changes import apply_operations
from .former import restore
from .models import Edited, Source, StoredManifest, Undo
from .operations import Edit

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
NEEDS_MATCH: Final = (
    "If-Match: is needed, with the ETag of GET /api/v1/apps/{appId}/manifest, "
    "so that no edit of others is lost"
)


class TaggedEdit(NamedTuple):
    """A manifest after an edit, and its entity tag; that of the present one after a dry run."""

    edited: Edited
    etag: str


class Editor:
    """Writes the next manifest of an app, and installs it or says what it would change."""

    def __init__(self, statements: Statements, apps: AppsService) -> None:
        self._statements = statements
        self._apps = apps

    async def read(self, app_id: str) -> StoredManifest:
        """Return the manifest of an installed app. Raises NotFound."""
        stored = await store.read_stored(self._statements, app_id)
        if stored is None:
            raise NotFound(f"app '{app_id}' not found")
        return stored

    async def history(self, app_id: str) -> bytes:
        """List the installs of an app with what each changed, the newest first, as JSON."""
        return await store.list_steps(self._statements, app_id)

    async def edit(self, actor: Actor, app_id: str, edit: Edit, if_match: str | None) -> TaggedEdit:
        """Apply operations, and return the next manifest.

        Raises BadRequest, Forbidden, NotFound, ManifestChanged, ManagedByFiles.
        """
        stored = await self._read_for_change(app_id, if_match)
        raw = apply_operations(_decode(stored.manifest), edit.operations)
        if edit.dry_run:
            return TaggedEdit(await self._plan(actor, raw), stored.etag)
        return await self._install(actor, stored, raw, "edit")

    async def undo(self, actor: Actor, app_id: str, undo: Undo, if_match: str | None) -> TaggedEdit:
        """Go back to a former manifest; what was renamed since keeps its data.

        Raises what `edit` raises.
        """
        stored = await self._read_for_change(app_id, if_match)
        steps = await store.read_steps(self._statements, app_id)
        former = undo.to
        if former is None:
            if len(steps) < 2:
                raise BadRequest("to: there is no manifest before the present one")
            former = steps[1].stamp
        manifest = await self._apps.former_manifest(app_id, former)
        later_changes = [step.changes for step in steps if step.stamp > former]
        raw = restore(_decode(manifest), _decode(stored.manifest), later_changes)
        if undo.dry_run:
            return TaggedEdit(await self._plan(actor, raw), stored.etag)
        return await self._install(actor, stored, raw, "undo")

    async def set_source(self, actor: Actor, app_id: str, source: Source) -> None:
        """Say where the manifest is changed: here, or in the folder that the app comes from."""

        async def work(tx: Transaction) -> None:
            await self._apps.begin(tx, app_id)
            await self._apps.require_admin(tx, actor, app_id)
            await store.set_managed_by(tx, app_id, source.managed_by)
            await tx.publish(TOPIC, app_id)

        await self._statements.run(actor, work)

    async def _read_for_change(self, app_id: str, if_match: str | None) -> StoredManifest:
        stored = await self.read(app_id)
        _check_match(app_id, stored, if_match)
        if stored.managed_by is not None:
            raise ManagedByFiles(app_id)
        return stored

    async def _plan(self, actor: Actor, raw: Mapping[str, Any]) -> Edited:
        """Return what a manifest would change; what rows would refuse is refused now."""
        planned = await self._apps.plan(actor, raw)
        return _describe(planned.manifest, planned.changes, planned.warnings)

    async def _install(
        self, actor: Actor, stored: StoredManifest, raw: Mapping[str, Any], via: str
    ) -> TaggedEdit:
        async def check_unchanged(tx: Transaction, app_id: str) -> None:
            """Refuse to install over a step of others, now that the app is locked."""
            present = await store.read_stored(tx, app_id)
            if present is None:
                raise NotFound(f"app '{app_id}' not found")
            if present.stamp != stored.stamp:
                raise ManifestChanged(app_id, present.etag, bytes(present.manifest))
            if present.managed_by is not None:
                raise ManagedByFiles(app_id)

        installation = await self._apps.install_step(actor, raw, via, check_unchanged)
        edited = _describe(installation.manifest, installation.changes)
        return TaggedEdit(edited, etag=f'"{installation.stamp}"')


def _check_match(app_id: str, stored: StoredManifest, if_match: str | None) -> None:
    """Compare the header `If-Match`. Raises BadRequest, ManifestChanged."""
    if if_match is None:
        raise BadRequest(NEEDS_MATCH)
    tags = [tag.strip() for tag in if_match.split(",")]
    if "*" not in tags and stored.etag not in tags:
        raise ManifestChanged(app_id, stored.etag, bytes(stored.manifest))


def _describe(manifest: Manifest, changes: list[Change], more: Sequence[str] = ()) -> Edited:
    sentences = [_warn(change) for change in changes]
    warnings = [sentence for sentence in sentences if sentence]
    warnings += more
    warnings += [f"{path}: is not known, and has no effect" for path in manifest.ignored]
    return Edited(manifest=dict(manifest.raw), changes=changes, warnings=warnings)


def _warn(change: Change) -> str:
    """Return what a person should know of a change before it is made, or an empty text."""
    rows = 0 if change.rows is msgspec.UNSET else change.rows
    place = change.entity if change.column is None else f"{change.entity}.{change.column}"
    if change.change_type in ("retire_entity", "retire_column"):
        return (
            f"{place} is hidden and keeps what its {rows} rows have until an admin prunes it; "
            "a manifest that names it again brings it back"
        )
    if change.change_type == "alter_type" and rows:
        return f"{place}: {rows} rows are written again, and other writers wait meanwhile"
    return ""
