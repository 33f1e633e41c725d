"""The statement that judges changes: their rows, the conditions of a list, and what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import Param
from plugins.data.filters.conditions import Tree
from plugins.data.rendering import MAX_RECORD_BYTES, TOO_LARGE, Rendering
from plugins.data.rights.row_scope import RowScope

from .trees import find_fields, has_patterns

STAMP: Final = "updated_at"
"""Every update changes it, so it counts only where a watch names it."""


class JudgeStatement(msgspec.Struct, frozen=True):
    """A statement, and its parameters but the first one: the changes as a JSON array.

    A change is `[old, new, differs]`, where `differs` says that values beyond the two rows do. The
    statement yields a text for each, in their order: `null`; `l` for *leave*; `e` or `c`, and the
    record. With `former` a line feed and the former record follow; JSON of a record has no other
    line feed.

    `shown` are the fields of a record, `deciding` those that conditions ask for.
    """

    query: bytes
    params: Sequence[Param]
    rendering: Rendering
    shown: frozenset[str]
    deciding: frozenset[str]
    quick: bool


def compile_statement(
    scope: RowScope, where: Mapping[str, Any] | None, fields: Sequence[str] | None, *, former: bool
) -> JudgeStatement:
    """Compile the conditions of a scope and of a tree. Raises BadRequest."""
    table = scope.table
    selection = table.everything if fields is None else table.select_fields(fields)
    conditions = scope.begin_conditions(b"[]")
    trees: list[Tree] = [*scope.trees]
    if where:
        conditions.require_tree(where)
        trees.append(where)

    counts_stamp = fields is not None and STAMP in fields
    compared = b", ".join(
        column.sql for column in selection.columns if column.name != STAMP or counts_stamp
    )
    shown = _SHOWN % selection.items
    condition = b" and ".join(conditions.parts) or b"true"
    old_shown = shown if former else b"null::text"
    old_row = _ROW % (old_shown, compared, table.name, b"old", b"old", condition)
    new_row = _ROW % (shown, compared, table.name, b"new", b"new", condition)
    return JudgeStatement(
        query=(_JUDGE_WITH_FORMER if former else _JUDGE) % (old_row, new_row),
        params=conditions.params[1:],
        rendering=selection.rendering,
        shown=frozenset(column.name for column in selection.columns),
        deciding=frozenset(field for tree in trees for field in find_fields(tree)),
        quick=not scope.reached and not any(map(has_patterns, trees)),
    )


# As in lists: a record that is too large becomes an empty text.
_SHOWN: Final = (
    b"(select case when pg_column_size(_j.json) <= %d then _j.json else '%b' end"
    b" from (select row_to_json(_r)::text as json from (select %%b) _r offset 0) _j)"
    % (MAX_RECORD_BYTES, TOO_LARGE)
)

# The function runs before its condition is asked, and takes a row that is null.
_ROW: Final = (
    b"select true as there, %b as shown, row(%b) as compared"
    b" from jsonb_populate_record(null::%b, _c.%b) as t where _c.%b is not null and %b"
)

_CHANGES: Final = (
    b" from (select nullif(change -> 0, 'null') as old, nullif(change -> 1, 'null') as new,"
    b" (change -> 2)::boolean as differs, place"
    b" from jsonb_array_elements($1::jsonb) with ordinality as _e(change, place)) as _c"
    b" left join lateral (%b) as _o on true left join lateral (%b) as _n on true"
    b" order by _c.place"
)

_JUDGE: Final = (
    b"select case when _n.there and _o.there is null then 'e' || _n.shown"
    b" when _n.there and (_c.differs or _n.compared is distinct from _o.compared)"
    b" then 'c' || _n.shown"
    b" when _o.there and _n.there is null then 'l' end" + _CHANGES
)

_JUDGE_WITH_FORMER: Final = (
    b"select case when _n.there and _o.there is null then 'e' || _n.shown || E'\\n'"
    b" when _n.there and (_c.differs or _n.compared is distinct from _o.compared)"
    b" then 'c' || _n.shown || E'\\n' || _o.shown"
    b" when _o.there and _n.there is null then E'l\\n' || _o.shown end" + _CHANGES
)
