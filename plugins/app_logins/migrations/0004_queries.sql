create unlogged table caudex_app_logins.query_passwords (
    number bigint primary key references caudex_app_logins.logins (number) on delete cascade,
    password text not null
);

create function caudex_app_logins.propose_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    old_row jsonb;
    new_row jsonb;
    version text;
    number bigint;
begin
    if tg_op <> 'INSERT' then
        old_row := to_jsonb(old);
        execute format('select ''"'' || encode(xidsend(t.xmin) || timestamptz_send(t.updated_at), ''hex'') || ''"'' '
            'from %I.%I as t where t.id = $1', tg_argv[0], tg_argv[1])
        into version using old.id;
    end if;
    if tg_op = 'INSERT' then
        select coalesce(jsonb_object_agg(key, value), '{}') into new_row
        from jsonb_each(to_jsonb(new)) where value <> 'null';
    elsif tg_op = 'UPDATE' then
        select coalesce(jsonb_object_agg(key, value), '{}') into new_row
        from jsonb_each(to_jsonb(new)) where value is distinct from old_row -> key;
        if new_row ? 'id' then
            raise feature_not_supported using message = 'the id of a record cannot be changed';
        end if;
    end if;
    if tg_op <> 'UPDATE' or new_row - array['created_at', 'updated_at'] <> '{}' then
        insert into pg_temp._changes (op, entity, id, data, etag)
        values (lower(tg_op), tg_argv[1], old_row ->> 'id', new_row, version)
        returning place into number;
        if number > tg_argv[2]::bigint then
            raise program_limit_exceeded using message = format(
                'a statement writes at most %s records', tg_argv[2]);
        end if;
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end $$;
revoke execute on function caudex_app_logins.propose_change() from public;

create function caudex_app_logins.show_records(
    secret text, app_id text, names text[], queries text[], narrowed boolean[], max_changes integer)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (
        select from caudex_app_logins.query_passwords as q
        join pg_database as d on d.datname = current_database()
        where session_user = format('caudex_%s_q%s', d.oid, q.number)
            and sha256(convert_to(q.password, 'UTF8')) = sha256(convert_to(secret, 'UTF8'))
    ) then
        raise insufficient_privilege using message = 'only the server shows records';
    end if;
    if max_changes > 0 then
        create temp table _changes (
            place bigint generated always as identity, op text, entity text, id text, data jsonb, etag text);
        execute format('grant select on pg_temp._changes to %I', session_user);
    end if;
    for place in 1 .. cardinality(names) loop
        execute format('create temp view %I with (security_barrier = %s) as %s',
            names[place], narrowed[place], queries[place]);
        execute format('grant select on pg_temp.%I to %I', names[place], session_user);
        if max_changes > 0 then
            execute format('create trigger _changes instead of insert or update or delete on pg_temp.%I '
                'for each row execute function caudex_app_logins.propose_change(%L, %L, %L)',
                names[place], app_id, names[place], max_changes);
            execute format('grant insert, update, delete on pg_temp.%I to %I', names[place], session_user);
        end if;
    end loop;
end $$;
revoke execute on function caudex_app_logins.show_records(text, text, text[], text[], boolean[], integer) from public;

create function caudex_app_logins.answer_query(arguments text[], max_rows integer, max_bytes integer)
returns text language plpgsql as $$
declare
    list text := '';
    rows refcursor;
    item record;
    line text;
    lines text[] := '{}';
    size bigint := 0;
begin
    if pg_catalog.cardinality(arguments) > 0 then
        select '(' || pg_catalog.string_agg(pg_catalog.quote_nullable(a.value), ', ' order by a.place) || ')' into list
        from pg_catalog.unnest(arguments) with ordinality as a (value, place);
    end if;
    begin
        open rows no scroll for execute 'execute caudex_query' || list;
    exception when invalid_cursor_definition then
        execute 'execute caudex_query' || list;
        return '[]';
    end;
    loop
        fetch rows into item;
        exit when not found;
        line := pg_catalog.row_to_json(item)::text;
        size := size + pg_catalog.octet_length(line) + 1;
        if pg_catalog.cardinality(lines) >= max_rows then
            raise program_limit_exceeded using message = pg_catalog.format(
                'the result has more than %s rows: add a limit', max_rows);
        elsif size > max_bytes then
            raise program_limit_exceeded using message = pg_catalog.format(
                'the result has more than %s bytes: ask for less', max_bytes);
        end if;
        if pg_catalog.cardinality(lines) = 0 and (
            select pg_catalog.count(*) <> pg_catalog.count(distinct k) from pg_catalog.json_object_keys(line::json) as k
        ) then
            raise duplicate_column using message = 'two columns of the result have the same name';
        end if;
        lines := pg_catalog.array_append(lines, line);
    end loop;
    return '[' || pg_catalog.array_to_string(lines, ',') || ']';
exception when others then
    raise exception using errcode = sqlstate, message = pg_catalog.left(sqlerrm, 500);
end $$;
revoke execute on function caudex_app_logins.answer_query(text[], integer, integer) from public;

create function caudex_app_logins.proposed_changes(max_bytes integer) returns text language plpgsql as $$
begin
    if (select pg_catalog.sum(pg_catalog.octet_length(data::text)) > max_bytes from pg_temp._changes) then
        return null;
    end if;
    return (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'op', op, 'entity', entity, 'id', id, 'data', data, 'etag', etag) order by place), '[]')::text
        from pg_temp._changes);
end $$;
revoke execute on function caudex_app_logins.proposed_changes(integer) from public;

comment on table caudex_app_logins.query_passwords is
'The passwords of the logins that SQL of workers runs with, as in `passwords`. Only servers have them.';
comment on column caudex_app_logins.query_passwords.number is 'The app, by the number of its login.';
comment on column caudex_app_logins.query_passwords.password is
'Of a login without rights on tables. It also proves to `show_records` that the server calls it.';
comment on function caudex_app_logins.show_records is
'Makes a temporary view for each entity that a caller may read, until the transaction ends. It runs with the rights of '
'the server, and its caller may use the views and nothing else. The SQL of a worker follows in the same transaction and '
'does not know the secret, so it cannot make views of its own. With `max_changes` a write of a view is kept as a proposal.';
comment on function caudex_app_logins.propose_change is
'What an insert, update or delete of such a view does: it changes nothing, and keeps what the server is to do by RECORDS '
'afterwards, with the rights of the caller. The version is the entity tag of the row that the statement saw.';
comment on function caudex_app_logins.answer_query is
'Runs the prepared statement `caudex_query` with arguments and returns its rows as JSON. It runs with the rights of the '
'session. It has no search path of its own, as another path would have the statement analyzed again. An error is cut: '
'the text of a value in it has no bound.';
comment on function caudex_app_logins.proposed_changes is
'Returns what a statement proposed, as JSON, and null where that has more bytes of values.';
