-- The schema caudex_audit as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Ids of the trail, for all its partitions.
create sequence caudex_audit.log_id;

-- The trail: one row for each change, append-only, partitioned by months (UTC) that the server makes ahead of time.
-- Each search, but that for a request, walks one index from its newest end, so its cost does not grow with the trail.
-- The rows of a statement differ in their records only, so not each has an entry in the indexes of kinds, actors and
-- requests: one is enough for the rows of a statement in a block of 16 ids. A search looks for blocks and reads them by
-- the index on `id`.
create table caudex_audit.log (
    -- Grows; rows of one transaction are not next to each other. Blocks are of 16 ids: id >> 4.
    id bigint not null default nextval('caudex_audit.log_id'::regclass),
    table_schema text collate "C" not null,  -- The app, or `core` for what the system reports of itself.
    table_name text collate "C" not null,  -- The entity.
    record_id text collate "C",  -- The id of the record as text.
    operation text collate "C" not null,  -- INSERT, UPDATE, DELETE, TRUNCATE, or an operation of the system.
    old_record jsonb,  -- The record before; null for a creation.
    new_record jsonb,  -- The record after; null for a deletion.
    changed_at timestamptz not null default now(),  -- The begin of the transaction; it names the partition.
    actor_id uuid,  -- The user; null for the server itself and for a worker's own login.
    request_id text,  -- The request (`X-Request-Id`).
    -- Orders rows by commits: all of a transaction are visible together, and none below
    -- pg_snapshot_xmin(pg_current_snapshot()) can follow. Rows that are older than the column have 0.
    xid xid8 not null default pg_current_xact_id(),
    app_key bigint,  -- The installation that the row is of (`caudex_kernel.apps`).
    owner_id uuid,  -- The owner of the record after the change.
    -- True for a row without an entry in the indexes of blocks: another row of its statement and block has one.
    follows boolean,
    key_id uuid,  -- The API key that the request came with; null for other credentials.
    -- What the request came through, and after a space the name of its client: `mcp some-agent`. Null for REST itself.
    via text collate "C",
    -- The owner before an update that gave the record another one; the nil UUID where it had none.
    former_owner_id uuid
) partition by range (changed_at);
-- Has the hash of a kind: to compare three texts takes several times as long, and their entries are larger.
create index log_kind on caudex_audit.log (hashtextextended(((((table_schema || '.') || table_name) || '.') || operation), (0)::bigint), ((id >> 4)))
    where (follows is null);
-- Contains `id + 0`, and is searched in that order, so that PostgreSQL never prefers the index on `id`: it would walk
-- the whole trail backwards, in the hope of rows that are rare or old.
create index log_record on caudex_audit.log (record_id, ((id + 0)));
create index log_actor on caudex_audit.log (actor_id, ((id >> 4))) where (follows is null);
create index log_latest on caudex_audit.log (id);
-- The rows of a request share one key here; in a hash index each would walk a chain of pages to its end.
create index log_request on caudex_audit.log (request_id) where ((request_id is not null) and (follows is null));
create trigger refuse before delete or update or truncate on caudex_audit.log for each statement
    execute function caudex_audit.refuse();
alter table caudex_audit.log enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.log from current_user;

-- Which tables and operations the trail knows: a search for a part of (schema, table, operation) looks the whole ones
-- up here, and one index serves them all.
create table caudex_audit.kinds (
    table_schema text collate "C" not null,  -- As in the trail.
    table_name text collate "C" not null,  -- As in the trail.
    operation text collate "C" not null,  -- As in the trail.
    primary key (table_schema, table_name, operation)
);

-- Where the trail of an installed app begins. Rows before are of a former app of the same name, which can have belonged
-- to other people.
create table caudex_audit.apps (
    app_id text collate "C" not null,  -- The installed app.
    begins bigint not null,  -- Rows of the app with a greater id are its own.
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- What no month was made for; empty as long as a server runs now and then.
create table caudex_audit.log_default partition of caudex_audit.log default;
create trigger refuse before delete or update or truncate on caudex_audit.log_default for each statement
    execute function caudex_audit.refuse();
alter table caudex_audit.log_default enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.log_default from current_user;

-- Former names of entities and fields. Rows of the trail keep the names of their time, and are found under the present
-- ones.
create table caudex_audit.names (
    app_id text collate "C" not null,  -- The app.
    entity text collate "C" not null,  -- The present name of the entity.
    -- The present name of the field; empty where it is about the entity itself.
    field text collate "C" not null default '',
    former text collate "C" not null,  -- What the entity or the field is called in these rows.
    since bigint not null,  -- The first id of these rows.
    until bigint not null,  -- The id that follows these rows.
    primary key (app_id, entity, field, until),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- Which fields the records of an entity have now, and since when: records of before cannot be read as those of now.
create table caudex_audit.shapes (
    app_id text collate "C" not null,  -- The installed app.
    entity text collate "C" not null,  -- The entity.
    shape text not null,  -- The names and types of its fields, hashed.
    id bigint not null default nextval('caudex_audit.log_id'::regclass),  -- Its place among the ids of the trail.
    xid xid8 not null default pg_current_xact_id(),  -- The transaction of the install that changed them last.
    primary key (app_id, entity),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index shapes_latest on caudex_audit.shapes (id);

-- What was visible at some times, at most once a minute and only where something was written: a long replay goes from
-- one to the next, a position can be found for a time, and where the rows of an open transaction can begin is known.
-- After a month one an hour is left.
create table caudex_audit.marks (
    last_id bigint not null,  -- The greatest id of the trail that was visible.
    at timestamptz not null,  -- The time: what is not visible here was committed later.
    seen pg_snapshot not null,  -- The snapshot.
    branch text collate "C" not null,  -- The history that its transactions are numbered in: see `seen()`.
    -- The transaction that made the mark, after its snapshot: those with greater numbers have rows behind `last_id`
    -- only.
    number xid8 not null default pg_current_xact_id(),
    primary key (last_id)
);
create index marks_at on caudex_audit.marks (at);

-- Months of the trail that retention has dropped.
create table caudex_audit.dropped (
    month date not null,  -- The first day of the month.
    last_id bigint not null,  -- The greatest id of its rows; 0 where it had none.
    primary key (month)
);

-- The chain of seals, append-only: each vouches for the rows of the trail whose ids are above the last one of the seal
-- before, up to its own. The key that signs them is not in the database.
create table caudex_audit.seals (
    number bigint not null,  -- Grows by one.
    -- What is signed, as JSON: the range of ids, the Merkle root of the rows (RFC 6962), the SHA-256 of their entries
    -- and of the statement of the seal before. The other columns repeat parts of it, to find seals.
    statement text not null,
    signature bytea not null,  -- Ed25519 (RFC 8032), over the bytes of the statement.
    last_id bigint not null,  -- The greatest id that it vouches for.
    -- The latest `changed_at` of its rows; null where it has none, as where it announces that months are dropped.
    until timestamptz,
    primary key (number)
);
create index seals_last_id on caudex_audit.seals (last_id);
create index seals_until on caudex_audit.seals (until);
create trigger refuse before delete or update or truncate on caudex_audit.seals for each statement
    execute function caudex_audit.refuse();
alter table caudex_audit.seals enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.seals from current_user;

-- What finds the row that was changed behind a seal, until retention has dropped all rows of the seal.
create table caudex_audit.seal_entries (
    seal bigint not null,  -- The number of the seal.
    -- 48 bytes for each row, by id: the id, `changed_at` in microseconds since 2000 (both big-endian), and the hash of
    -- the row, which is a leaf of the Merkle tree. Not compressed: hashes cannot be.
    entries bytea storage external not null,
    primary key (seal)
);

-- How far the witness has the chain; one row at most.
create table caudex_audit.witnessed (
    single boolean not null default true,  -- True: there is one row.
    seal bigint not null,  -- The last seal that the witness has.
    primary key (single),
    check (single)
);

-- Statement triggers, on the trail and on each partition: they refuse even what matches no row, and also in a session
-- that switches ordinary triggers off. Here and below the search path is not empty: PostgreSQL would look for names of
-- types in the session's own temporary schema first, where a login could make a type `jsonb` whose check runs with the
-- rights of the server.
create function caudex_audit.refuse()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $$
begin
    raise insufficient_privilege using message = 'the audit trail is append-only';
end
$$;

-- Replaces a value over 1 MB (10^6 bytes of text) by its length and SHA-256. The size of the whole row is known without
-- looking at its values, so an ordinary row costs one comparison.
create function caudex_audit.shrunk(whole jsonb)
 returns jsonb
 language sql
 immutable strict
 set search_path to 'pg_catalog', 'pg_temp'
as $$
    select case when pg_column_size(whole) <= 1000000 then whole else (
        select jsonb_object_agg(key, case
            when octet_length(value #>> '{}') > 1000000 then jsonb_build_object(
                'length', octet_length(value #>> '{}'),
                'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex'))
            else value end)
        from jsonb_each(whole)
    ) end
$$;

-- Columns that the trail leaves out: the owner has a column of its own, and the words of a search are computed. It is
-- inlined.
create function caudex_audit.hidden()
 returns text[]
 language sql
 immutable
as $$
    select '{_owner,_search,_search_1,_search_2,_search_3,_search_4,_search_5,_search_6,_search_7,_search_8,_search_9}'
        ::text[]
$$;

-- Timestamps are in UTC and numbers complete, whatever the session's settings.
create function caudex_audit.as_json_in_utc(whole anyelement)
 returns jsonb
 language sql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
 set "TimeZone" to 'UTC'
 set extra_float_digits to '1'
as $$
    select to_jsonb(whole)
$$;

-- Whether this session has these settings, as the server's own have: to set them again for each row takes longer than
-- to make its JSON. It is inlined.
create function caudex_audit.in_utc()
 returns boolean
 language sql
 stable
as $$
    select current_setting('timezone') = 'UTC' and current_setting('extra_float_digits') = '1'
$$;

-- Attached to every entity table, with the app's key as argument. It runs as the server's own role, so a login that may
-- write the table needs no right on the trail, and has none. A few bytes that change one value of a large row must not
-- write all its others into the trail, twice. In a row over 1 MB (10^6 bytes) the values that an update leaves alone
-- are replaced by their length and SHA-256, the largest first, until the row is no larger than that: the value itself
-- is in the row of the trail that recorded its last change.
create function caudex_audit.record()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $$
declare
    plain boolean := caudex_audit.in_utc();
    old_row jsonb;
    new_row jsonb;
    unchanged jsonb;
    owner uuid;
    former_owner uuid;
    actor uuid;
    request text;
    api_key uuid;
    door text;
begin
    if tg_level = 'ROW' then
        old_row := case when plain then to_jsonb(old) else caudex_audit.as_json_in_utc(old) end;
        new_row := case when plain then to_jsonb(new) else caudex_audit.as_json_in_utc(new) end;
        owner := (coalesce(new_row, old_row) ->> '_owner')::uuid;
        if tg_op = 'UPDATE' and old_row -> '_owner' <> new_row -> '_owner' then
            former_owner := coalesce(old_row ->> '_owner', '00000000-0000-0000-0000-000000000000')::uuid;
        end if;
        old_row := old_row - caudex_audit.hidden();
        new_row := new_row - caudex_audit.hidden();
        if pg_column_size(old_row) > 1000000 or pg_column_size(new_row) > 1000000 then
            old_row := caudex_audit.shrunk(old_row);
            new_row := caudex_audit.shrunk(new_row);
            if tg_op = 'UPDATE' then
                select jsonb_object_agg(key, jsonb_build_object(
                    'length', octet_length(value #>> '{}'),
                    'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex')))
                into unchanged
                from (
                    select key, value, sum(pg_column_size(value)) over larger as before
                    from jsonb_each(new_row)
                    where value = old_row -> key and key <> 'id' and pg_column_size(value) > 200
                    window larger as (
                        order by pg_column_size(value) desc, key rows between unbounded preceding and 1 preceding)
                ) as same
                where greatest(pg_column_size(old_row), pg_column_size(new_row)) - coalesce(before, 0) > 1000000;
                old_row := old_row || coalesce(unchanged, '{}');
                new_row := new_row || coalesce(unchanged, '{}');
            end if;
        end if;
    end if;
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
        api_key := nullif(current_setting('caudex.key_id', true), '')::uuid;
        door := nullif(current_setting('caudex.via', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, key_id, app_key, owner_id, former_owner_id, via)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request, api_key, tg_argv[0]::bigint, owner, former_owner, door);
    return null;
end
$$;

-- Rows that a statement creates or deletes reach the trail by one statement too: for 1,000 rows that is half of the
-- work of a call for each. It is a trigger `after insert` or `after delete` that names its rows `changed`. The alias
-- `_r` of a whole row is a name that no field can have. An update stays with `record`: its old and new rows have no key
-- that pairs them, and a single one is what people write. A session keeps one plan for the statement: PostgreSQL would
-- rather plan it again where the first calls of a session recorded many rows, a fifth of its time for a single record.
create function caudex_audit.record_all()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
 set plan_cache_mode to 'force_generic_plan'
as $$
declare
    plain boolean := caudex_audit.in_utc();
    created boolean := tg_op = 'INSERT';
    started bigint := nextval('caudex_audit.log_id');
    actor uuid;
    request text;
    api_key uuid;
    door text;
begin
    -- The login of a worker could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
        api_key := nullif(current_setting('caudex.key_id', true), '')::uuid;
        door := nullif(current_setting('caudex.via', true), '');
    end if;
    -- Other sessions take ids meanwhile: the row before is known by its id, which is this session's last.
    insert into caudex_audit.log
        (id, follows, table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id, key_id, app_key, owner_id, via)
    select place, case when before <> started and before >> 4 = place >> 4 then true end,
        tg_table_schema, tg_table_name, id, tg_op,
        case when not created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        case when created then case when pg_column_size(r) > 1000000 then caudex_audit.shrunk(r) else r end end,
        actor, request, api_key, tg_argv[0]::bigint, owner, door
    from (
        select currval('caudex_audit.log_id') as before, nextval('caudex_audit.log_id') as place,
            _r.id::text, _r._owner as owner,
            case when plain then to_jsonb(_r) else caudex_audit.as_json_in_utc(_r) end - caudex_audit.hidden() as r
        from changed as _r
        offset 0
    ) as s;
    return null;
end
$$;

-- Called where the plugin is switched off or on. While it is off its triggers are; the trail itself says from when to
-- when it recorded nothing.
create function caudex_audit.switched(enabled boolean, since timestamptz)
 returns void
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $$
declare
    said text := case when enabled then 'TRAIL_RESUMED' else 'TRAIL_STOPPED' end;
    found record;
begin
    for found in
        select t.tgrelid::regclass as on_table, t.tgname as name
        from pg_trigger as t
        join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
        where p.pronamespace = 'caudex_audit'::regnamespace and c.relnamespace <> 'caudex_audit'::regnamespace
        and not t.tgisinternal
    loop
        execute format('alter table %s %s trigger %I', found.on_table,
            case when enabled then 'enable' else 'disable' end, found.name);
    end loop;
    insert into caudex_audit.kinds (table_schema, table_name, operation)
        values ('core', 'audit', said) on conflict do nothing;
    insert into caudex_audit.log (table_schema, table_name, operation, new_record, app_key)
        values ('core', 'audit', said, case when enabled then jsonb_build_object('offSince', since) end, 0);
end
$$;

-- Names the history that numbers of transactions belong to: the database cluster, the database, the trail, and the
-- timeline. A restored dump has another trail, as its table is another one; a promoted standby and a restored cluster
-- are on another timeline.
create function caudex_audit.branch()
 returns text
 language sql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $$
    select case when pg_is_in_recovery() then 'standby' else concat_ws('-',
        (select system_identifier from pg_control_system()),
        (select oid from pg_database where datname = current_database()),
        'caudex_audit.log'::regclass::oid,
        left(pg_walfile_name(pg_current_wal_lsn()), 8)) end
$$;

-- What the statement sees that calls it: the branch, its snapshot, and the greatest id that is visible in it, of the
-- trail, of shapes, and of what was dropped.
create function caudex_audit.seen()
 returns text
 language sql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $$
    select concat_ws(' ', caudex_audit.branch(), pg_current_snapshot(), greatest(0,
        (select id from caudex_audit.log order by id desc limit 1),
        (select id from caudex_audit.shapes order by id desc limit 1),
        (select max(last_id) from caudex_audit.dropped)))
$$;

-- A record of before a change of its table, with the columns of today: what is gone is left out, what is new is null,
-- and so is a value that the type of today does not take.
create function caudex_audit.reshaped(empty anyelement, stored jsonb)
 returns jsonb
 language plpgsql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $$
declare
    digests jsonb;
    plain jsonb;
    taken jsonb := '{}';
    present jsonb;
    item record;
begin
    if stored is null then
        return null;
    end if;
    select coalesce(jsonb_object_agg(key, value) filter (where is_digest), '{}'),
        coalesce(jsonb_object_agg(key, value) filter (where not is_digest), '{}')
    into digests, plain
    from (
        select key, value, jsonb_typeof(value) = 'object' and value ?& array['length', 'sha256']
            and value - array['length', 'sha256'] = '{}' as is_digest
        from jsonb_each(stored)
    ) as member;
    begin
        present := caudex_audit.as_json_in_utc(jsonb_populate_record(empty, plain));
    exception when others then
        for item in select key, value from jsonb_each(plain) loop
            begin
                perform jsonb_populate_record(empty, jsonb_build_object(item.key, item.value));
                taken := taken || jsonb_build_object(item.key, item.value);
            exception when others then
                continue;
            end;
        end loop;
        present := caudex_audit.as_json_in_utc(jsonb_populate_record(empty, taken));
    end;
    select coalesce(jsonb_object_agg(key, value), '{}') into digests
    from jsonb_each(digests) where present ? key;
    return (present - caudex_audit.hidden()) || digests;
end
$$;

revoke execute on all functions in schema caudex_audit from public;
