-- The schema caudex_files as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Contents that are in the store, or are about to be deleted from it. A new reference to one locks its row and checks
-- that the store still has it; a deletion locks its row and checks that no file refers to it.
create table caudex_files.blobs (
    sha256 text not null,  -- The SHA-256 of the content in hex: its name in the store.
    size bigint not null,  -- Bytes.
    -- When a sweep found that no file has the content; a later sweep deletes it. Null while a file has it.
    unused_since timestamptz,
    primary key (sha256)
);
create index blobs_unused on caudex_files.blobs (unused_since) where (unused_since is not null);

-- The files of apps. States: pending (uploaded, no record has held it) -> held (a record holds it) -> released (no
-- record holds it any more, the trail may) -> gone. A pending one is gone after a day, a released one when no undo can
-- need it.
create table caudex_files.files (
    id uuid not null,  -- What records hold.
    app_id text not null,  -- The app; its files go with it.
    sha256 text,  -- The content; null after `caudex files erase`.
    name text not null,  -- The name that it was uploaded with, without a path.
    type text not null,  -- The media type that its content has.
    size bigint not null,  -- Bytes.
    uploader_id uuid,  -- The user who uploaded it; null for the server itself.
    of_app boolean not null default false,  -- Whether the app itself holds it: it came through `…/storage/upload`.
    held boolean not null default false,  -- Whether a record holds it, or ever did.
    created_at timestamptz not null default now(),  -- When it was uploaded.
    primary key (id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade,
    foreign key (sha256) references caudex_files.blobs(sha256)
);
create index files_by_app on caudex_files.files (app_id);
create index files_by_content on caudex_files.files (sha256);
create index files_pending on caudex_files.files (created_at) where ((not held) and (not of_app));
create index files_pending_of_user on caudex_files.files (uploader_id) where ((not held) and (not of_app));

-- Which field of which record holds a file, and held it lately.
create table caudex_files.holdings (
    file_id uuid not null,  -- The file; the record is of the same app.
    entity text not null,  -- The entity of the record.
    field text not null,  -- The field.
    record_id text not null,  -- The id of the record as text.
    -- When the field lost the file; null while it holds it. It is kept from then on for as long as an undo may need it.
    ended_at timestamptz,
    primary key (file_id, entity, field, record_id),
    foreign key (file_id) references caudex_files.files(id) on delete cascade
);
create index holdings_ended on caudex_files.holdings (ended_at) where (ended_at is not null);

-- The fields of managed files whose columns exist, retired ones as well: the triggers of their tables read them here.
create table caudex_files.fields (
    app_id text not null,  -- The app.
    entity text not null,  -- The entity.
    field text not null,  -- The field.
    is_list boolean not null,  -- Whether it is of type [file].
    max_size bigint,  -- Bytes that a file may have; null for no limit of its own.
    types text[] not null default '{}'::text[],  -- Media types that a file may have, as image/*; none for any.
    primary key (app_id, entity, field),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- What all servers of the database share; one row.
create table caudex_files.signing (
    is_only boolean not null default true,  -- Always true, so that there is one row.
    key text not null,  -- The key that links to files are signed with, 32 random bytes in hex.
    primary key (is_only),
    check (is_only)
);

-- Notes that records hold files. It refuses what is no file of the app, or not what the field takes. Its locks keep the
-- files from the sweep until the transaction ends; they are taken in one order.
create function caudex_files.hold(in_app text, in_entity text, in_field text, records text[], file_ids uuid[])
 returns void
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $$
declare
    rule caudex_files.fields;
    refused record;
begin
    perform from caudex_files.files as f where f.id = any(file_ids) order by f.id for key share;
    select * into rule from caudex_files.fields as r
        where r.app_id = in_app and r.entity = in_entity and r.field = in_field;
    select f.id is null as is_missing, f.size > rule.max_size as is_large into refused
        from (select distinct unnest(file_ids) as id) as sent
        left join caudex_files.files as f on f.id = sent.id and f.app_id = in_app and f.sha256 is not null
        where f.id is null or f.size > rule.max_size or (rule.types <> '{}' and not exists (
            select from unnest(rule.types) as wanted
            where wanted = f.type or (right(wanted, 2) = '/*' and split_part(f.type, '/', 1) = split_part(wanted, '/', 1))))
        order by 1 desc, 2 desc nulls last limit 1;
    if refused.is_missing then
        raise foreign_key_violation using message = 'no such file', constraint = 'caudex_file',
            schema = in_app, table = in_entity, column = in_field;
    elsif found then
        raise check_violation using message = 'the field does not take this file',
            constraint = case when refused.is_large then 'caudex_file_size' else 'caudex_file_type' end,
            schema = in_app, table = in_entity, column = in_field;
    end if;
    insert into caudex_files.holdings as h (file_id, entity, field, record_id)
        select file_id, in_entity, in_field, record_id
        from unnest(records, file_ids) as sent(record_id, file_id) order by file_id
        on conflict (file_id, entity, field, record_id) do update set ended_at = null;
    update caudex_files.files as f set held = true where f.id = any(file_ids) and not f.held;
end
$$;

-- Notes that records do not hold files any more. The files stay until no undo can need them.
create function caudex_files.release(in_entity text, in_field text, records text[], file_ids uuid[])
 returns void
 language sql
 set search_path to 'pg_catalog', 'pg_temp'
as $$
    update caudex_files.holdings as h set ended_at = now()
    from unnest(records, file_ids) as sent(record_id, file_id)
    where h.file_id = sent.file_id and h.entity = in_entity and h.field = in_field
    and h.record_id = sent.record_id and h.ended_at is null
$$;

-- The statement that yields which records of some rows hold which files by a field.
create function caudex_files.select_held(rows text, field text, is_list boolean)
 returns text
 language sql
 immutable
 set search_path to 'pg_catalog', 'pg_temp'
as $$
    select format(case when is_list
        then 'select distinct _r.id::text as record_id, _i as file_id from %1$s as _r '
            'cross join unnest(_r.%2$I) as _i where _i is not null'
        else 'select _r.id::text as record_id, _r.%2$I as file_id from %1$s as _r where _r.%2$I is not null'
        end, rows, field)
$$;

-- Attached to each table with fields of managed files: one call for each statement, whatever wrote it. It runs as the
-- server's own role, so a login that may write the table needs no right here. The tables of a statement's rows are
-- named `new_rows` and `old_rows`.
create function caudex_files.track()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $$
declare
    managed caudex_files.fields;
    held_after text;
    held_before text;
    records text[];
    file_ids uuid[];
begin
    for managed in
        select * from caudex_files.fields as r
        where r.app_id = tg_table_schema and r.entity = tg_table_name order by r.field
    loop
        held_after := caudex_files.select_held('new_rows', managed.field, managed.is_list);
        held_before := caudex_files.select_held('old_rows', managed.field, managed.is_list);
        if tg_op = 'UPDATE' then
            records := null;
            execute format('select array_agg(record_id), array_agg(file_id) from ((%s) except (%s)) as _d',
                held_before, held_after) into records, file_ids;
        elsif tg_op = 'DELETE' then
            execute format('select array_agg(record_id), array_agg(file_id) from (%s) as _d', held_before)
                into records, file_ids;
        end if;
        if tg_op <> 'INSERT' and records is not null then
            perform caudex_files.release(managed.entity, managed.field, records, file_ids);
        end if;
        if tg_op = 'UPDATE' then
            execute format('select array_agg(record_id), array_agg(file_id) from ((%s) except (%s)) as _d',
                held_after, held_before) into records, file_ids;
        elsif tg_op = 'INSERT' then
            execute format('select array_agg(record_id), array_agg(file_id) from (%s) as _d', held_after)
                into records, file_ids;
        end if;
        if tg_op <> 'DELETE' and records is not null then
            perform caudex_files.hold(managed.app_id, managed.entity, managed.field, records, file_ids);
        end if;
    end loop;
    return null;
end
$$;

-- Attached to the same tables: a truncate has no rows to look at.
create function caudex_files.track_truncate()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $$
begin
    update caudex_files.holdings as h set ended_at = now()
    from caudex_files.files as f
    where f.id = h.file_id and f.app_id = tg_table_schema and h.entity = tg_table_name and h.ended_at is null;
    return null;
end
$$;

revoke execute on all functions in schema caudex_files from public;
