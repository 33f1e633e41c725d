"""Writes Python: a TypedDict for each entity, of what is read, created, changed and asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .entities import EntityType, FieldType, Kind, visible_names

VALUES: Final[dict[Kind, str]] = {
    "text": "str",
    "number": "float",
    "boolean": "bool",
    "date": "str",
    "timestamp": "str",
    "json": "Json",
    "uuid": "str",
    "texts": "list[str]",
    "numbers": "list[float]",
    "file": "FileValue",
    "files": "list[FileValue]",
}
SENT: Final[dict[Kind, str]] = {
    **VALUES, "file": "FileValue | str", "files": "list[FileValue | str]",
}  # fmt: skip
FILTERS: Final[dict[Kind, str]] = {
    "text": "str | None | TextOperators",
    "number": "float | None | NumberOperators",
    "boolean": "bool | None | BooleanOperators",
    "date": "str | None | TimeOperators",
    "timestamp": "str | None | TimeOperators",
    "json": "JsonOperators",
    "uuid": "str | None | TimeOperators",
    "texts": "list[str] | None | TextsOperators",
    "numbers": "list[float] | None | NumbersOperators",
    "file": "str | None | FileOperators",
    "files": "list[str] | None | TextsOperators",
}
HEAD: Final = '''\
"""Made by `caudex types python --app {app}`: make it again after a change of the manifest."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = "bool | float | str | list[Json] | dict[str, Json] | None"


class FileValue(TypedDict):
    """A file that a record holds."""

    id: str
    name: str
    type: str
    size: int

'''
OPERATORS: Final = (
    ("TextOperators", "str", ("$gt", "$gte", "$lt", "$lte", "$like", "$ilike"), True),
    ("NumberOperators", "float", ("$gt", "$gte", "$lt", "$lte"), True),
    ("BooleanOperators", "bool", (), True),
    ("TimeOperators", "str", ("$gt", "$gte", "$lt", "$lte"), True),
    ("FileOperators", "str", (), True),
    ("TextsOperators", "list[str]", (), False),
    ("NumbersOperators", "list[float]", (), False),
    ("JsonOperators", "Json", (), False),
)


def python(app_id: str, entities: Sequence[EntityType]) -> str:
    """Return the file."""
    names = visible_names(entities)
    parts = [HEAD.format(app=app_id), *_operators()]
    for entity in entities:
        parts += _entity(entity, names)
    return "\n".join(parts)


def _operators() -> Iterator[str]:
    for name, value, further, has_lists in OPERATORS:
        members = [("$eq", f"{value} | None"), ("$ne", f"{value} | None"), ("$isNull", "bool")]
        if has_lists:
            members += [("$in", f"list[{value} | None]"), ("$nin", f"list[{value} | None]")]
        else:
            single = value.removeprefix("list[").removesuffix("]")
            members.append(("$contains", f"{single} | {value}" if single != value else value))
        members += [(operator, value) for operator in further]
        yield _typed_dict(name, members, optional=True)


def _entity(entity: EntityType, names: dict[str, str]) -> Iterator[str]:
    id_type = VALUES[entity.id_kind]
    times = [("created_at", "str"), ("updated_at", "str")]
    record = [("id", id_type), *((field.name, _read(field)) for field in entity.fields), *times]
    yield _typed_dict(f"{entity.type_name}Record", record)
    writable = [field for field in entity.fields if not field.read_only]
    create = [("id", id_type)] if entity.id_declared else []
    create += [(field.name, _created(field)) for field in writable]
    yield _typed_dict(f"{entity.type_name}Create", create)
    update = [(field.name, _changed(field)) for field in writable]
    yield _typed_dict(f"{entity.type_name}Update", update, optional=True)
    yield _typed_dict(f"{entity.type_name}Where", _where(entity, names), optional=True)


def _where(entity: EntityType, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the members of a where-tree; links and relations have dictionaries of their own."""
    type_name = f"{entity.type_name}Where"
    yield "$and", f"list[{type_name}]"
    yield "$or", f"list[{type_name}]"
    yield "$not", type_name
    yield "id", FILTERS[entity.id_kind]
    for field in entity.fields:
        text = FILTERS[field.kind]
        if field.target:
            text = f"{text} | {_inline(('$has', names[field.target]))}"
        yield field.name, text
    yield "created_at", FILTERS["timestamp"]
    yield "updated_at", FILTERS["timestamp"]
    for relation, source in entity.relations.items():
        yield relation, _inline(("$some", names[source]), ("$none", names[source]))


def _inline(*members: tuple[str, str]) -> str:
    """Return the dictionaries of operators that hold a where-tree of another entity."""
    literals = ", ".join(repr(operator) for operator, _ in members)
    return f"dict[Literal[{literals}], {members[0][1]}Where]"


def _typed_dict(name: str, members: Iterable[tuple[str, str]], *, optional: bool = False) -> str:
    """Write the functional form: names of fields may be keywords, operators begin with $."""
    lines = [f"{name} = TypedDict(", f'    "{name}",', "    {"]
    lines += [f'        "{key}": {_quote(text)},' for key, text in members]
    lines.append("    },")
    if optional:
        lines.append("    total=False,")
    lines.append(")\n")
    return "\n".join(lines)


def _quote(text: str) -> str:
    """Write a type as a forward reference."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if "'" in text else f'"{text}"'


def _value(field: FieldType, kinds: dict[Kind, str]) -> str:
    if not field.values:
        return kinds[field.kind]
    literal = f"Literal[{', '.join(repr(value) for value in field.values)}]"
    if field.kind == "texts":
        return f"list[{literal}]"
    return literal


def _read(field: FieldType) -> str:
    value = _value(field, VALUES)
    return value if field.required else f"{value} | None"


def _created(field: FieldType) -> str:
    value = _value(field, SENT)
    if field.required and not field.has_default:
        return value
    return f"NotRequired[{value} | None]"


def _changed(field: FieldType) -> str:
    value = _value(field, SENT)
    return value if field.required else f"{value} | None"
