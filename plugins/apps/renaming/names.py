"""Finds what a manifest renames: its `was` compared with what the app has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kernel.public import Renamed
from plugins.apps.models import Manifest
from plugins.apps.schema.current import Schema

from .moves import order_moves
from .takeovers import find_takeovers

FormerNames = Mapping[str, Sequence[str]]
"""`was` of an entity by its name, and of a field by `entity.field`."""


class Renames(msgspec.Struct, frozen=True, kw_only=True):
    """The former names of entities, and of fields by their entity, by the names they get."""

    entities: Mapping[str, str] = {}
    fields: Mapping[str, Mapping[str, str]] = {}

    def former_entity(self, name: str) -> str:
        """Return what an entity was called."""
        return self.entities.get(name, name)

    def former_field(self, entity: str, name: str) -> str:
        """Return what a field was called; `entity` is the name that its entity gets."""
        return self.fields.get(entity, {}).get(name, name)

    def list_renamed(self) -> tuple[Renamed, ...]:
        """List entities, then fields, as plugins get them: one rename after the other."""
        entities = [
            Renamed(entity=move.name, former=move.former) for move in order_moves(self.entities)
        ]
        fields = [
            Renamed(entity=entity, field=move.name, former=move.former)
            for entity, names in self.fields.items()
            for move in order_moves(names)
        ]
        return (*entities, *fields)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is renamed."""
        return not self.entities and not self.fields


NO_RENAMES = Renames()


class NameComparison(msgspec.Struct, frozen=True):
    """What a manifest renames, and why names in its `was` cannot be taken over."""

    renames: Renames
    refusals: Sequence[str] = ()


def compare_names(manifest: Manifest, schema: Schema, installed: FormerNames) -> NameComparison:
    """Compare a manifest with the names of its app.

    `installed` has the `was` of the manifest that is installed.
    """
    if not schema.installed:
        return NameComparison(NO_RENAMES)

    refusals: list[str] = []

    live_entities = {
        name: schema.entities[name] for name in schema.entities if name in schema.tables
    }
    declared_entities = {
        entity.name: manifest.was.get(entity.name, ()) for entity in manifest.entities
    }
    installed_entities = {name: installed.get(name, ()) for name in _list_used(live_entities)}
    entities = _Match("", live_entities, set(schema.tables), refusals).find(
        declared_entities, installed_entities
    )

    fields: dict[str, Mapping[str, str]] = {}
    for entity in manifest.entities:
        former_entity = entities.get(entity.name, entity.name)
        table = schema.tables.get(former_entity)
        if table is None:
            continue
        columns = {column.name for column in table.columns}
        ledger = schema.columns.get(former_entity, {})
        live_fields = {name: ledger[name] for name in ledger if name in columns}
        declared_fields = {
            field.name: manifest.was.get(f"{entity.name}.{field.name}", ())
            for field in entity.fields
        }
        installed_fields = {
            name: installed.get(f"{former_entity}.{name}", ()) for name in _list_used(live_fields)
        }
        match = _Match(f"{entity.name}.", live_fields, columns, refusals)
        renamed_fields = match.find(declared_fields, installed_fields)
        if renamed_fields:
            fields[entity.name] = renamed_fields
    return NameComparison(Renames(entities=entities, fields=fields), refusals)


def _list_used(live: Mapping[str, bool]) -> list[str]:
    return [name for name, is_retired in live.items() if not is_retired]


class _Match:
    """Compares declared names and their `was` with the names that exist.

    `live` are the names of installs to whether they are retired, `present` all that the database
    has.
    """

    def __init__(
        self, prefix: str, live: Mapping[str, bool], present: set[str], refusals: list[str]
    ) -> None:
        self._prefix = prefix
        self._live = live
        self._present = present
        self._refusals = refusals

    def find(self, declared: FormerNames, installed: FormerNames) -> dict[str, str]:
        """Return the former names by the new ones."""
        renames = find_takeovers(declared, installed)
        given_up = set(renames)
        for name, was in declared.items():
            is_in_use = not self._live.get(name, True)
            if is_in_use:
                continue
            former_names = list(self._list_fitting(was, declared.keys() - given_up))
            if not former_names:
                continue
            former = former_names[0]
            if len(former_names) > 1:
                texts = " and ".join(map(repr, former_names))
                self._refuse(name, f"{texts} both exist; name the one that is renamed")
            elif name in self._present:
                self._refuse(
                    name, f"{former!r} cannot be renamed, as something retired or made by hand has "
                    f"the name {name!r}; prune it, or take another name"
                )  # fmt: skip
            else:
                renames[name] = former
        self._refuse_shared(renames)
        return renames

    def _list_fitting(self, was: Sequence[str], staying: set[str]) -> Iterator[str]:
        """Yield the former names that exist and that nothing in the manifest keeps."""
        for former in dict.fromkeys(was):
            if former in self._live and former not in staying:
                yield former

    def _refuse_shared(self, renames: dict[str, str]) -> None:
        """Leave out what takes over the same as another one."""
        claimed_names: set[str] = set()
        for name, former in list(renames.items()):
            if former in claimed_names:
                self._refuse(name, f"{former!r} is taken over twice")
                del renames[name]
            claimed_names.add(former)

    def _refuse(self, name: str, sentence: str) -> None:
        self._refusals.append(f"{self._prefix}{name}: was: {sentence}")
