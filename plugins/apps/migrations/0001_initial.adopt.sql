-- Entities that were installed before they named their unique keys get them from their indexes: the id first, then
-- each index of the manifest, as an install writes them. Without them `bulk?on=` refused every key.
with keys as (
    select a.id as app_id, e.key as entity, json_agg(k.names order by k.is_primary desc, k.place) as names
    from caudex_apps.apps as a
    cross join json_each(a.model -> 'entities') as e
    join pg_class as t on t.oid = to_regclass(format('%I.%I', a.id, e.key))
    cross join lateral (
        select i.indisprimary as is_primary, i.indexrelid as place, (
            select json_agg(c.attname order by p.place)
            from unnest(i.indkey::int2[]) with ordinality as p(attnum, place)
            join pg_attribute as c on (c.attrelid, c.attnum) = (t.oid, p.attnum)) as names
        from pg_index as i
        where i.indrelid = t.oid and i.indisunique and i.indisvalid and i.indpred is null
    ) as k
    where coalesce(json_array_length(e.value -> 'unique'), 0) = 0
    group by 1, 2
),
models as (
    select app_id, jsonb_object_agg(entity, jsonb_build_object('unique', names)) as entities
    from keys group by 1
)
update caudex_apps.apps as a
set model = (
    select json_object_agg(m.key, case m.key
        when 'entities' then (
            select json_object_agg(e.key, coalesce((e.value::jsonb || (n.entities -> e.key))::json, e.value))
            from json_each(m.value) as e)
        else m.value
    end)
    from json_each(a.model) as m)
from models as n where n.app_id = a.id;
