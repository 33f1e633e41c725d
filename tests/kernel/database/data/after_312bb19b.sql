-- What main had between 312bb19b and the files of today.
-- The passwords of logins. The first server process that starts removes them, and a start of a worker makes one. Neither
-- the log nor a base backup has the rows of an unlogged table, and `caudex backup` leaves them out. A crash of PostgreSQL
-- empties it; the processes know what they gave to their workers.
create unlogged table caudex_app_logins.passwords (
    number bigint primary key references caudex_app_logins.logins (number) on delete cascade,
    password text not null
);

-- Earlier versions kept them here.
alter table caudex_app_logins.logins alter column password set default '';
update caudex_app_logins.logins set password = '';

-- Each server process has a lock on it while it runs. It has no rows.
create table caudex_app_logins.servers ();
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
insert into caudex_kernel.migrations (plugin, name, checksum) values
    ('app_logins', '0003_passwords.sql', '24ee1a2e7b10ffddc42c6c2864e1ce6d9d187f00eb6a05bef3a4931d6d019350'),
    ('apps', '0004_unique_keys.sql', '50e2dce14487fb52e7b63e25c2a4222d3c5da8eb40e03ec96f868a32b3d9b7b6');
