"""Finds what a manifest renames: its `was` compared with what the app has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kernel.public import Renamed
from plugins.apps.models import Manifest
from plugins.apps.schema.current import Schema


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
        """List entities, then fields, as plugins get them."""
        entities = [Renamed(entity=name, former=former) for name, former in self.entities.items()]
        fields = [
            Renamed(entity=entity, field=name, former=former)
            for entity, names in self.fields.items()
            for name, former in names.items()
        ]
        return (*entities, *fields)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is renamed."""
        return not self.entities and not self.fields


NO_RENAMES = Renames()


def find_renames(manifest: Manifest, schema: Schema) -> tuple[Renames, list[str]]:
    """Return what is renamed, and why a name in `was` cannot be taken over."""
    refusals: list[str] = []
    if not schema.installed:
        return NO_RENAMES, refusals

    live_entities = {
        name: schema.entities[name] for name in schema.entities if name in schema.tables
    }
    declared_entities = {
        entity.name: manifest.was.get(entity.name, ()) for entity in manifest.entities
    }
    entities = _Match("", live_entities, set(schema.tables), declared_entities, refusals).find()

    fields: dict[str, Mapping[str, str]] = {}
    for entity in manifest.entities:
        table = schema.tables.get(entities.get(entity.name, entity.name))
        if table is None:
            continue
        columns = {column.name for column in table.columns}
        ledger = schema.columns.get(entities.get(entity.name, entity.name), {})
        live_fields = {name: ledger[name] for name in ledger if name in columns}
        declared_fields = {
            field.name: manifest.was.get(f"{entity.name}.{field.name}", ())
            for field in entity.fields
        }
        match = _Match(f"{entity.name}.", live_fields, columns, declared_fields, refusals)
        renamed_fields = match.find()
        if renamed_fields:
            fields[entity.name] = renamed_fields
    return Renames(entities=entities, fields=fields), refusals


class _Match:
    """Compares declared names and their `was` with the names that exist.

    `live` are the names of installs to whether they are retired, `present` all that the database
    has.
    """

    def __init__(
        self,
        prefix: str,
        live: Mapping[str, bool],
        present: set[str],
        declared: Mapping[str, Sequence[str]],
        refusals: list[str],
    ) -> None:
        self._prefix = prefix
        self._live = live
        self._present = present
        self._declared = declared
        self._refusals = refusals

    def find(self) -> dict[str, str]:
        """Return the former names by the new ones."""
        renames: dict[str, str] = {}
        for name, was in self._declared.items():
            former_names = list(self._list_fitting(name, was))
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
            elif former in renames.values():
                self._refuse(name, f"{former!r} is taken over twice")
            else:
                renames[name] = former
        return renames

    def _list_fitting(self, name: str, was: Sequence[str]) -> Iterator[str]:
        """Yield the former names that exist and that nothing in the manifest has."""
        is_in_use = not self._live.get(name, True)
        if is_in_use:
            return
        for former in was:
            if former in self._live and former not in self._declared:
                yield former

    def _refuse(self, name: str, sentence: str) -> None:
        self._refusals.append(f"{self._prefix}{name}: was: {sentence}")
