"""Sections of manifests that other plugins registered: their schemas, combined and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from kernel.public import BootError, BootErrors, ManifestSection

from .problems import MAX_PROBLEMS

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
BASE: Final = Path(__file__).with_name("manifest.schema.json")
SMALL: Final = 32_000
"""Bytes of a section whose problems are all reported; of a larger one only the first is, as each
costs time."""

REMEDY: Final = "fix the ManifestSection that register_manifest_section returns"

_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_BY_NAME: Final = ("properties", "patternProperties", "dependentSchemas", "$defs")
"""Keywords that hold schemas under names of the author's choice."""
_DATA: Final = ("const", "enum", "default", "examples", "dependentRequired")
"""Keywords that hold values instead of schemas."""
_OWN: Final = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "definitions")
"""Keywords that are not allowed in a part of a larger schema."""


class Sections:
    """The sections of manifests. Raises BootErrors that name every plugin with a broken schema.

    A plugin that fails to start and is left out (`on_failure = "degrade"`) loses its section, which
    was compiled before.
    """

    def __init__(self, registered: Sequence[tuple[str, ManifestSection]] = ()) -> None:
        errors: list[BootError] = []
        self._registered: Final = registered
        self._sections: dict[str, _Section] = {}
        for plugin, section in registered:
            try:
                self._sections[section.key] = _Section(plugin, section)
            except BootError as error:
                errors.append(error)
        if errors:
            raise BootErrors(errors)
        self._schema = self._compose_schema()

    @property
    def schema(self) -> bytes:
        """The schema of manifests with the sections, as JSON."""
        self._registered_sections()
        return self._schema

    @property
    def keys(self) -> Iterable[str]:
        """Top-level keys that plugins registered."""
        return self._registered_sections().keys()

    def problems(self, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (path, sentence) for each problem in the sections of a manifest; null is absent."""
        for key, section in self._registered_sections().items():
            value = manifest.get(key)
            if value is None:
                continue
            for path, sentence in islice(section.problems(value), MAX_PROBLEMS):
                yield f"{key}{path}", sentence

    def _registered_sections(self) -> Mapping[str, _Section]:
        if len(self._registered) < len(self._sections):
            registered_keys = {section.key for _, section in self._registered}
            self._sections = {
                key: section for key, section in self._sections.items() if key in registered_keys
            }
            self._schema = self._compose_schema()
        return self._sections

    def _compose_schema(self) -> bytes:
        schema: dict[str, Any] = msgspec.json.decode(BASE.read_bytes())
        for key, section in self._sections.items():
            schema["properties"][key] = _move_schema(section.schema, f"#/properties/{key}")
        return msgspec.json.encode(schema)


class _Section:
    def __init__(self, plugin: str, section: ManifestSection) -> None:
        self._where = f"plugin {plugin}, manifest section {section.key!r}"
        if not _KEY.fullmatch(section.key):
            raise BootError(self._where, "the key must be a word of letters, digits and _", REMEDY)
        self.schema = self._copy_as_json(section.schema)
        self._check = section.check
        for path, problem in _find_schema_problems(self.schema):
            raise BootError(f"{self._where}, schema{path}", problem, REMEDY)
        self._validator = self._compile()

    def problems(self, value: Any) -> Iterator[tuple[str, str]]:
        """Yield (path, sentence) for each problem, the path within the section."""
        if not self._validator.is_valid(value):
            for error in self._list_errors(value):
                yield from _describe(error)
        elif self._check is not None:
            for path, sentence in self._check(value):
                yield path, sentence[:300]

    def _list_errors(self, value: Any) -> Iterable[ValidationError]:
        from jsonschema_rs import ValidationError

        if len(msgspec.json.encode(value)) <= SMALL:
            return self._validator.iter_errors(value)
        try:
            self._validator.validate(value)
        except ValidationError as error:
            return [error]
        return []

    def _copy_as_json(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the schema, made of JSON."""
        try:
            return msgspec.json.decode(msgspec.json.encode(schema), type=dict[str, Any])
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise BootError(self._where, f"its schema is no JSON object: {error}", REMEDY) from None

    def _compile(self) -> Draft202012Validator:
        # Imported late: it takes 7 MB, and most servers have no plugin with a section.
        from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

        try:
            # This regex engine takes linear time in the text for every pattern.
            return Draft202012Validator(self.schema, pattern_options=RegexOptions(), offline=True)
        except ValidationError as error:
            path = f"schema{_write_path(error.instance_path)}"
            raise BootError(f"{self._where}, {path}", _shorten(error.message), REMEDY) from None


def _describe(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Describe a problem in the words of the rest of a manifest."""
    from jsonschema_rs import ValidationErrorKind as Kind

    path = _write_path(error.instance_path)
    kind = error.kind
    if isinstance(kind, Kind.Required):
        yield f"{path}.{kind.property}", "is required"
    elif isinstance(kind, Kind.AdditionalProperties):
        for name in kind.unexpected[:MAX_PROBLEMS]:
            yield f"{path}.{name[:80]}", "is not known"
    else:
        yield path, _shorten(error.message)


def _write_path(parts: Iterable[str | int]) -> str:
    """Write a path such as `[0].schedule`."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part[:80]}"
    return path


def _shorten(message: str) -> str:
    """Shorten a message, which repeats what was sent."""
    if len(message) <= 300:
        return message
    return f"{message[:300]}…"


def _find_schema_problems(schema: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, problem) for what is not valid in a schema that becomes part of another."""
    for part_path, part in _find_parts(schema, path):
        for keyword in _OWN:
            if keyword in part:
                yield f"{part_path}.{keyword}", "is not for a section; use $defs and `#/$defs/…`"
        draft = part.get("$schema", DRAFT)
        if draft != DRAFT:
            yield f"{part_path}.$schema", f"{draft!r} is not the draft 2020-12"
        target = part.get("$ref", "#")
        if not isinstance(target, str) or not re.match(r"#(/|$)", target):
            yield f"{part_path}.$ref", f"{target!r} leads elsewhere, and nothing is fetched"


def _find_parts(schema: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object within a schema that is a schema, or looks like one, with its path."""
    if isinstance(schema, list):
        for number, item in enumerate(cast("list[object]", schema)):
            yield from _find_parts(item, f"{path}[{number}]")
    if isinstance(schema, dict):
        part = cast("dict[str, Any]", schema)
        yield path, part
        for keyword, value in part.items():
            if keyword in _BY_NAME and isinstance(value, dict):
                for name, inner in cast("dict[str, object]", value).items():
                    yield from _find_parts(inner, f"{path}.{keyword}.{name}")
            elif keyword not in _DATA:
                yield from _find_parts(value, f"{path}.{keyword}")


def _move_schema(schema: dict[str, Any], target: str) -> dict[str, Any]:
    """Return the schema as the part `target` of another, with its references rewritten."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    for _, part in _find_parts(copy, ""):
        part.pop("$schema", None)
        if "$ref" in part:
            part["$ref"] = target + part["$ref"][1:]
    return copy


NO_SECTIONS: Final = Sections()
"""For manifests without sections of plugins."""
