"""What PostgreSQL knows of a table beyond its manifest: rules that were made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from plugins.data.statements.entity_table import Table


class TableRules(msgspec.Struct, frozen=True, array_like=True):
    """Whether rows can be refused by a rule that no manifest has, and the columns of indexes."""

    has_unknown: bool
    indexed: frozenset[str]


decode_rules: Final = msgspec.json.Decoder(TableRules).decode

FIND_RULES: Final = rb"""
select json_build_array(
    r.relhasrules or r.relrowsecurity
    or exists (select from pg_constraint as c where c.conrelid = r.oid
        and c.contype in ('c', 'f', 'u', 'x', 't') and c.conname <> all($2::text[]))
    or exists (select from pg_index as i join pg_class as n on n.oid = i.indexrelid
        where i.indrelid = r.oid and (i.indisunique or i.indisexclusion or i.indexprs is not null)
        and n.relname <> all($2::text[]))
    or exists (select from pg_trigger as g join pg_proc as p on p.oid = g.tgfoid
        where g.tgrelid = r.oid and not g.tgisinternal
        and p.pronamespace::regnamespace::text not like 'caudex\_%')
    or exists (select from pg_attribute as a where a.attrelid = r.oid
        and a.attnum > 0 and not a.attisdropped and a.atttypid <> all(
            '{text,float8,bool,date,timestamptz,jsonb,uuid,text[],float8[],uuid[],tsvector}'
            ::regtype[])),
    coalesce((select json_agg(distinct a.attname) from pg_index as i
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = r.oid), '[]'))
from pg_class as r where r.oid = $1::text::regclass
"""
"""Parameters: the table, and the names of the constraints that its manifest has made."""


def params_of_rules(table: Table) -> tuple[str, list[str]]:
    """Return the parameters of FIND_RULES."""
    return table.name.decode(), [*table.entity.constraints]
