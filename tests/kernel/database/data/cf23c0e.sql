SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET row_security = off;
CREATE SCHEMA again;
CREATE SCHEMA caudex_apps;
CREATE SCHEMA caudex_audit;
CREATE SCHEMA caudex_auth;
CREATE SCHEMA caudex_cron;
CREATE SCHEMA caudex_jobs;
CREATE SCHEMA caudex_kernel;
CREATE SCHEMA caudex_logs;
CREATE SCHEMA caudex_oidc;
CREATE SCHEMA caudex_rbac;
CREATE SCHEMA caudex_vault;
CREATE SCHEMA caudex_vault_file;
CREATE SCHEMA caudex_workers;
CREATE SCHEMA crm;
CREATE SCHEMA early;
CREATE SCHEMA swapped;
CREATE FUNCTION caudex_apps.boolean_to_json(value boolean) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN to_jsonb(value);
CREATE FUNCTION caudex_apps.boolean_to_number(value boolean) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN value THEN 1 ELSE 0 END;
CREATE FUNCTION caudex_apps.boolean_to_text(value boolean) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN value THEN 'true'::text ELSE 'false'::text END;
CREATE FUNCTION caudex_apps.date_to_text(value date) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN ((value >= '0001-01-01'::date) AND (value <= '9999-12-31'::date)) THEN to_char((value)::timestamp with time zone, 'YYYY-MM-DD'::text) ELSE NULL::text END;
CREATE FUNCTION caudex_apps.date_to_json(value date) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN to_jsonb(caudex_apps.date_to_text(value));
CREATE FUNCTION caudex_apps.date_to_timestamp(value date) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN ((value >= '0001-01-01'::date) AND (value <= '9999-12-31'::date)) THEN ((value)::timestamp without time zone AT TIME ZONE 'UTC'::text) ELSE NULL::timestamp with time zone END;
CREATE FUNCTION caudex_apps.json_repeats_key(value json) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
begin
    if json_typeof(value) = 'array' then
        return exists (
            select from json_array_elements(value) as m
            where json_typeof(m.value) in ('object', 'array')
                and caudex_apps.json_repeats_key(m.value)
        );
    end if;
    return (select count(*) <> count(distinct key) from json_object_keys(value) as key)
        or exists (
            select from json_each(value) as m
            where json_typeof(m.value) in ('object', 'array')
                and caudex_apps.json_repeats_key(m.value)
        );
end $$;
CREATE FUNCTION caudex_apps.json_to_boolean(value jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (jsonb_typeof(value) = 'boolean'::text) THEN (value)::boolean ELSE NULL::boolean END;
CREATE FUNCTION caudex_apps.text_to_date(value text) RETURNS date
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET "DateStyle" TO 'ISO'
    AS $_$
begin
    return case when value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then value::date end;
exception when data_exception then
    return null;
end $_$;
CREATE FUNCTION caudex_apps.json_to_date(value jsonb) RETURNS date
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (jsonb_typeof(value) = 'string'::text) THEN caudex_apps.text_to_date((value #>> '{}'::text[])) ELSE NULL::date END;
CREATE FUNCTION caudex_apps.json_to_number(value jsonb) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET extra_float_digits TO '1'
    AS $$
declare
    near double precision;
begin
    if jsonb_typeof(value) <> 'number' then
        return null;
    end if;
    near := value::numeric::double precision;
    return case when near::text::numeric = value::numeric then near end;
exception when data_exception then
    return null;
end $$;
CREATE FUNCTION caudex_apps.json_to_number_array(value jsonb) RETURNS double precision[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
    if jsonb_typeof(value) <> 'array' or exists (
        select from jsonb_array_elements(value) as m
        where jsonb_typeof(m) <> 'null' and caudex_apps.json_to_number(m) is null
    ) then
        return null;
    end if;
    return array(
        select caudex_apps.json_to_number(m.value)
        from jsonb_array_elements(value) with ordinality as m(value, place)
        order by m.place
    );
end $$;
CREATE FUNCTION caudex_apps.json_to_text(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (jsonb_typeof(value) <> 'null'::text) THEN (value)::text ELSE NULL::text END;
CREATE FUNCTION caudex_apps.json_to_text_array(value jsonb) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
    if jsonb_typeof(value) <> 'array' or exists (
        select from jsonb_array_elements(value) as m
        where jsonb_typeof(m) not in ('string', 'null')
    ) then
        return null;
    end if;
    return array(
        select m.value from jsonb_array_elements_text(value) with ordinality as m(value, place)
        order by m.place
    );
end $$;
CREATE FUNCTION caudex_apps.text_to_timestamp(value text) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO'
    AS $_$
begin
    return case when value ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}'
        || '(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?$')
        then value::timestamptz end;
exception when data_exception then
    return null;
end $_$;
CREATE FUNCTION caudex_apps.json_to_timestamp(value jsonb) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (jsonb_typeof(value) = 'string'::text) THEN caudex_apps.text_to_timestamp((value #>> '{}'::text[])) ELSE NULL::timestamp with time zone END;
CREATE FUNCTION caudex_apps.text_to_uuid(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'::text) THEN (value)::uuid ELSE NULL::uuid END;
CREATE FUNCTION caudex_apps.json_to_uuid(value jsonb) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (jsonb_typeof(value) = 'string'::text) THEN caudex_apps.text_to_uuid((value #>> '{}'::text[])) ELSE NULL::uuid END;
CREATE FUNCTION caudex_apps.number_array_to_json(value double precision[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET extra_float_digits TO '1'
    RETURN CASE WHEN (NOT (EXISTS (SELECT FROM unnest(number_array_to_json.value) m(m) WHERE (m.m = ANY (ARRAY['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision]))))) THEN to_jsonb(value) ELSE NULL::jsonb END;
CREATE FUNCTION caudex_apps.number_array_to_number(value double precision[]) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN ((array_ndims(value) = 1) AND (cardinality(value) = 1)) THEN (value)[array_lower(value, 1)] ELSE NULL::double precision END;
CREATE FUNCTION caudex_apps.number_array_to_text_array(value double precision[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
    if array_ndims(value) > 1 then
        return null;
    end if;
    return array(
        select caudex_apps.number_to_text(m.value)
        from unnest(value) with ordinality as m(value, place) order by m.place
    );
end $$;
CREATE FUNCTION caudex_apps.number_to_boolean(value double precision) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE value WHEN 1 THEN true WHEN 0 THEN false ELSE NULL::boolean END;
CREATE FUNCTION caudex_apps.number_to_json(value double precision) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET extra_float_digits TO '1'
    RETURN CASE WHEN (value <> ALL (ARRAY['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision])) THEN to_jsonb(value) ELSE NULL::jsonb END;
CREATE FUNCTION caudex_apps.number_to_number_array(value double precision) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN ARRAY[value];
CREATE FUNCTION caudex_apps.number_to_text(value double precision) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET extra_float_digits TO '1'
    RETURN CASE WHEN ((value = (0)::double precision) OR ((abs(value) >= (0.0000001)::double precision) AND (abs(value) < ('1000000000000000000000'::numeric)::double precision))) THEN (trim_scale(((value)::text)::numeric))::text ELSE (value)::text END;
CREATE FUNCTION caudex_apps.text_array_to_json(value text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN to_jsonb(value);
CREATE FUNCTION caudex_apps.text_array_to_number_array(value text[]) RETURNS double precision[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
    if array_ndims(value) > 1 or exists (
        select from unnest(value) as m
        where m is not null and caudex_apps.text_to_number(m) is null
    ) then
        return null;
    end if;
    return array(
        select caudex_apps.text_to_number(m.value)
        from unnest(value) with ordinality as m(value, place) order by m.place
    );
end $$;
CREATE FUNCTION caudex_apps.text_array_to_text(value text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN ((array_ndims(value) = 1) AND (cardinality(value) = 1)) THEN (value)[array_lower(value, 1)] ELSE NULL::text END;
CREATE FUNCTION caudex_apps.text_to_boolean(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE lower(value) WHEN 'true'::text THEN true WHEN 'false'::text THEN false ELSE NULL::boolean END;
CREATE FUNCTION caudex_apps.text_to_json(value text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
    parsed jsonb;
begin
    parsed := value::jsonb;
    -- jsonb would keep the last of a repeated key only; a bare null would become no value at all.
    if jsonb_typeof(parsed) in ('object', 'array') then
        return case when not caudex_apps.json_repeats_key(value::json) then parsed end;
    end if;
    return case when jsonb_typeof(parsed) <> 'null' then parsed end;
exception when data_exception or program_limit_exceeded then
    return null;
end $$;
CREATE FUNCTION caudex_apps.text_to_number(value text) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    SET extra_float_digits TO '1'
    AS $_$
declare
    near double precision;
begin
    -- Leading zeros mean something in codes and phone numbers, so they do not convert.
    if length(value) > 400
        or value !~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?$' then
        return null;
    end if;
    near := value::double precision;
    return case when near::text::numeric = value::numeric then near end;
exception when data_exception then
    return null;
end $_$;
CREATE FUNCTION caudex_apps.text_to_text_array(value text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN ARRAY[value];
CREATE FUNCTION caudex_apps.timestamp_to_date(value timestamp with time zone) RETURNS date
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN ((((value AT TIME ZONE 'UTC'::text))::date)::timestamp without time zone = (value AT TIME ZONE 'UTC'::text)) THEN ((value AT TIME ZONE 'UTC'::text))::date ELSE NULL::date END;
CREATE FUNCTION caudex_apps.timestamp_to_text(value timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN CASE WHEN (((value AT TIME ZONE 'UTC'::text) >= '0001-01-01 00:00:00'::timestamp without time zone) AND ((value AT TIME ZONE 'UTC'::text) <= '9999-12-31 23:59:59.999999'::timestamp without time zone)) THEN ((to_jsonb((value AT TIME ZONE 'UTC'::text)) #>> '{}'::text[]) || 'Z'::text) ELSE NULL::text END;
CREATE FUNCTION caudex_apps.timestamp_to_json(value timestamp with time zone) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN to_jsonb(caudex_apps.timestamp_to_text(value));
CREATE FUNCTION caudex_apps.touch() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    new.updated_at := now();
    return new;
end $$;
CREATE FUNCTION caudex_apps.uuid_to_json(value uuid) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN to_jsonb((value)::text);
CREATE FUNCTION caudex_apps.uuid_to_text(value uuid) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    RETURN (value)::text;
CREATE FUNCTION caudex_audit.record() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    AS $$
declare
    old_row jsonb;
    new_row jsonb;
    unchanged jsonb;
    actor uuid;
    request text;
begin
    if tg_level = 'ROW' then
        old_row := to_jsonb(old) - '_owner';
        new_row := to_jsonb(new) - '_owner';
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
    -- A worker's login could set these to anything; only the server's is believed.
    if pg_has_role(session_user, current_user, 'member') then
        actor := nullif(current_setting('caudex.actor_id', true), '')::uuid;
        request := nullif(current_setting('caudex.request_id', true), '');
    end if;
    insert into caudex_audit.log
        (table_schema, table_name, record_id, operation, old_record, new_record,
         actor_id, request_id)
    values (tg_table_schema, tg_table_name, coalesce(new_row, old_row) ->> 'id', tg_op,
            old_row, new_row, actor, request);
    return null;
end
$$;
CREATE FUNCTION caudex_audit.refuse() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise insufficient_privilege using message = 'the audit trail is append-only';
end
$$;
CREATE FUNCTION caudex_audit.shrunk(whole jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when pg_column_size(whole) <= 1000000 then whole else (
        select jsonb_object_agg(key, case
            when octet_length(value #>> '{}') > 1000000 then jsonb_build_object(
                'length', octet_length(value #>> '{}'),
                'sha256', encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex'))
            else value end)
        from jsonb_each(whole)
    ) end
$$;
CREATE TABLE caudex_cron.runs (
    id bigint NOT NULL,
    cron_id uuid NOT NULL,
    due timestamp with time zone NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    state text NOT NULL,
    job_id text,
    missed integer DEFAULT 0 NOT NULL,
    detail text,
    triggered_by uuid,
    CONSTRAINT runs_state_check CHECK ((state = ANY (ARRAY['fired'::text, 'waiting'::text, 'skipped'::text, 'missed'::text, 'failed'::text])))
);
CREATE FUNCTION caudex_cron.shown(r caudex_cron.runs) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    select row_to_json(s) from (
        select r.id, to_char(r.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as due,
            to_char(r.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
            r.state, r.job_id, r.missed, r.detail, r.triggered_by
    ) as s
$$;
CREATE FUNCTION caudex_jobs.claim(asked jsonb, token uuid, lease interval, patience interval) RETURNS SETOF json
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
declare
    app record;
    found_ids uuid[];
    picked uuid[] := '{}';
begin
    perform set_config('synchronous_commit', 'off', true);
    for app in
        select a.app_id, a.free, a.idle
        from jsonb_to_recordset(asked) as a (app_id text, free integer, idle boolean)
    loop
        found_ids := null;
        if app.idle then
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                order by j.priority desc, j.run_at, j.id limit 1
                for update skip locked) as s;
        else
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                    and j.updated_at < now() - 12 * patience
                order by j.priority desc, j.run_at, j.id limit 1
                for update skip locked) as s;
            if found_ids is null then
                perform from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and j.suspect
                    and j.updated_at < now() - patience
                order by j.priority desc, j.run_at, j.id limit 1;
                continue when found;
            end if;
        end if;
        if found_ids is null then
            select array_agg(s.id) into found_ids from (
                select j.id from caudex_jobs.jobs as j
                where j.app_id = app.app_id and j.status = 'pending' and j.due and not j.suspect
                order by j.priority desc, j.run_at, j.id limit app.free
                for update skip locked) as s;
        end if;
        picked := picked || found_ids;
    end loop;
    if cardinality(picked) = 0 then
        return;
    end if;
    return query
        update caudex_jobs.jobs as j
        set status = 'running', due = false, attempts = j.attempts + 1, progress = null,
            lease_token = token, lease_until = now() + lease, updated_at = now(),
            until = coalesce(j.until, date_trunc('hour', now(), 'UTC') + interval '8 days')
        where j.id = any(picked)
        returning json_build_object('id', j.id, 'app_id', j.app_id, 'payload', j.payload,
            'user_id', j.user_id, 'timeout_s', j.timeout_s, 'failures', j.failures,
            'max_attempts', j.max_attempts, 'suspect', j.suspect, 'losses', j.losses,
            'priority', j.priority, 'run_at', extract(epoch from j.run_at),
            'until', extract(epoch from j.until), 'mark', coalesce(j.mark, ''));
end
$$;
CREATE FUNCTION caudex_jobs.expire(most integer, lapses_allowed integer, why text) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
    perform from caudex_jobs.turns where name = 'expire' for update skip locked;
    if not found then
        return;
    end if;
    return query
        with lost as materialized (
            select j.id,
                case when j.cancelled_at is not null then 'cancelled'
                    when j.suspect and j.lapses + 1 >= lapses_allowed then 'failed'
                    else 'pending' end as status
            from caudex_jobs.jobs as j
            where j.status = 'running' and j.lease_until < now()
            limit most for update skip locked
        )
        update caudex_jobs.jobs as j
        set status = lost.status, due = lost.status = 'pending',
            ended_at = case when lost.status = 'pending' then null else now() end,
            lapses = j.lapses + j.suspect::int, suspect = lost.status = 'pending',
            error = case when lost.status = 'failed' then why else j.error end,
            lease_token = null, lease_until = null, updated_at = now()
        from lost where j.id = lost.id
        returning j.app_id;
end
$$;
CREATE FUNCTION caudex_jobs.renew(ids uuid[], tokens uuid[], lease interval) RETURNS SETOF json
    LANGUAGE sql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set lease_until = now() + lease
    from unnest(ids, tokens) as h (id, token)
    where j.id = h.id and j.lease_token = h.token
    returning json_build_object('id', j.id, 'cancelled', j.cancelled_at is not null)
$$;
CREATE FUNCTION caudex_jobs.report(steps json) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    select set_config('synchronous_commit', 'off', true);
    update caudex_jobs.jobs as j
    set progress = s.value::json, updated_at = now()
    from json_to_recordset(steps) as s (id uuid, token uuid, value text)
    where j.id = s.id and j.lease_token = s.token
$$;
CREATE FUNCTION caudex_jobs.ripen(most integer) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
declare
    apps text[];
    next_at timestamptz;
begin
    perform set_config('synchronous_commit', 'off', true);
    with ripe as materialized (
        select j.id from caudex_jobs.jobs as j
        where j.status = 'pending' and not j.due and j.run_at <= now()
        order by j.run_at limit most for update skip locked
    ),
    made as (
        update caudex_jobs.jobs as j set due = true
        where j.id = any(array(select id from ripe)) returning j.app_id
    )
    select array_agg(distinct app_id) into apps from made;
    select j.run_at into next_at from caudex_jobs.jobs as j
    where j.status = 'pending' and not j.due
    order by j.run_at limit 1;
    return json_build_object('apps', coalesce(to_json(apps), '[]'::json),
        'next', case when next_at is not null then greatest(0, extract(epoch from next_at - now())) end);
end
$$;
CREATE FUNCTION caudex_jobs.settle(outcomes json) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then o.status else 'cancelled' end,
        due = j.cancelled_at is null and o.status = 'pending' and o.delay = 0,
        run_at = case when o.delay = 0 then j.run_at else now() + make_interval(secs => o.delay) end,
        attempts = j.attempts - o.unstarted::int,
        failures = o.failures, losses = o.losses, suspect = o.suspect,
        result = o.result::json, error = o.error,
        lease_token = null, lease_until = null, updated_at = now(),
        ended_at = case when j.cancelled_at is null and o.status = 'pending' then null else now() end
    from json_to_recordset(outcomes) as o (id uuid, token uuid, status text, delay double precision,
        unstarted boolean, failures integer, losses integer, suspect boolean, result text,
        error text)
    where j.id = o.id and j.lease_token = o.token;
end
$$;
CREATE TABLE caudex_jobs.jobs (
    id uuid NOT NULL,
    app_id text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    due boolean NOT NULL,
    suspect boolean DEFAULT false NOT NULL,
    priority integer NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    losses integer DEFAULT 0 NOT NULL,
    lapses integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    timeout_s double precision NOT NULL,
    user_id uuid,
    key text,
    run_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    cancelled_at timestamp with time zone,
    ended_at timestamp with time zone,
    lease_token uuid,
    lease_until timestamp with time zone,
    error text,
    payload json NOT NULL,
    result json,
    progress json,
    until timestamp with time zone,
    mark text,
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.05');
CREATE FUNCTION caudex_jobs.shown(j caudex_jobs.jobs) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    select row_to_json(r) from (
        select j.id, j.app_id, j.status, j.payload, j.result, j.error, j.attempts,
            to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
            to_char(j.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
            to_char(j.run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at,
            j.progress
    ) as r
$$;
CREATE FUNCTION caudex_jobs.unclaim(tokens uuid[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
    update caudex_jobs.jobs as j
    set status = case when j.cancelled_at is null then 'pending' else 'cancelled' end,
        ended_at = case when j.cancelled_at is null then null else now() end,
        due = j.cancelled_at is null, attempts = j.attempts - 1,
        lease_token = null, lease_until = null, updated_at = now()
    where j.status = 'running' and j.lease_token = any(tokens)
$$;
CREATE TABLE again.contacts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    name text,
    tags text[]
);
CREATE TABLE again.deals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    title text,
    amount double precision,
    contact uuid
);
CREATE TABLE caudex_apps.apps (
    id text NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    manifest json NOT NULL,
    model json NOT NULL,
    stamp bigint NOT NULL,
    installed_by uuid,
    installed_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    born bigint DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_apps.columns (
    app_id text NOT NULL,
    entity text NOT NULL,
    name text NOT NULL,
    retired_at timestamp with time zone
);
CREATE TABLE caudex_apps.entities (
    app_id text NOT NULL,
    name text NOT NULL,
    retired_at timestamp with time zone
);
CREATE SEQUENCE caudex_apps.stamps
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE caudex_apps.turns (
    app_id text NOT NULL
);
CREATE TABLE caudex_audit.kinds (
    table_schema text NOT NULL COLLATE pg_catalog."C",
    table_name text NOT NULL COLLATE pg_catalog."C",
    operation text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE caudex_audit.lives (
    app_id text NOT NULL COLLATE pg_catalog."C",
    begins bigint NOT NULL,
    born bigint DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_audit.log (
    id bigint NOT NULL,
    table_schema text NOT NULL COLLATE pg_catalog."C",
    table_name text NOT NULL COLLATE pg_catalog."C",
    record_id text COLLATE pg_catalog."C",
    operation text NOT NULL COLLATE pg_catalog."C",
    old_record jsonb,
    new_record jsonb,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    actor_id uuid,
    request_id text
)
PARTITION BY RANGE (changed_at);
CREATE SEQUENCE caudex_audit.log_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE caudex_audit.log_id OWNED BY caudex_audit.log.id;
CREATE TABLE caudex_audit.log_2026_11 (
    id bigint DEFAULT nextval('caudex_audit.log_id'::regclass) CONSTRAINT log_id_not_null NOT NULL,
    table_schema text CONSTRAINT log_table_schema_not_null NOT NULL COLLATE pg_catalog."C",
    table_name text CONSTRAINT log_table_name_not_null NOT NULL COLLATE pg_catalog."C",
    record_id text COLLATE pg_catalog."C",
    operation text CONSTRAINT log_operation_not_null NOT NULL COLLATE pg_catalog."C",
    old_record jsonb,
    new_record jsonb,
    changed_at timestamp with time zone DEFAULT now() CONSTRAINT log_changed_at_not_null NOT NULL,
    actor_id uuid,
    request_id text
);
CREATE TABLE caudex_audit.log_2026_12 (
    id bigint DEFAULT nextval('caudex_audit.log_id'::regclass) CONSTRAINT log_id_not_null NOT NULL,
    table_schema text CONSTRAINT log_table_schema_not_null NOT NULL COLLATE pg_catalog."C",
    table_name text CONSTRAINT log_table_name_not_null NOT NULL COLLATE pg_catalog."C",
    record_id text COLLATE pg_catalog."C",
    operation text CONSTRAINT log_operation_not_null NOT NULL COLLATE pg_catalog."C",
    old_record jsonb,
    new_record jsonb,
    changed_at timestamp with time zone DEFAULT now() CONSTRAINT log_changed_at_not_null NOT NULL,
    actor_id uuid,
    request_id text
);
CREATE TABLE caudex_audit.log_2027_01 (
    id bigint DEFAULT nextval('caudex_audit.log_id'::regclass) CONSTRAINT log_id_not_null NOT NULL,
    table_schema text CONSTRAINT log_table_schema_not_null NOT NULL COLLATE pg_catalog."C",
    table_name text CONSTRAINT log_table_name_not_null NOT NULL COLLATE pg_catalog."C",
    record_id text COLLATE pg_catalog."C",
    operation text CONSTRAINT log_operation_not_null NOT NULL COLLATE pg_catalog."C",
    old_record jsonb,
    new_record jsonb,
    changed_at timestamp with time zone DEFAULT now() CONSTRAINT log_changed_at_not_null NOT NULL,
    actor_id uuid,
    request_id text
);
CREATE TABLE caudex_audit.log_default (
    id bigint DEFAULT nextval('caudex_audit.log_id'::regclass) CONSTRAINT log_id_not_null NOT NULL,
    table_schema text CONSTRAINT log_table_schema_not_null NOT NULL COLLATE pg_catalog."C",
    table_name text CONSTRAINT log_table_name_not_null NOT NULL COLLATE pg_catalog."C",
    record_id text COLLATE pg_catalog."C",
    operation text CONSTRAINT log_operation_not_null NOT NULL COLLATE pg_catalog."C",
    old_record jsonb,
    new_record jsonb,
    changed_at timestamp with time zone DEFAULT now() CONSTRAINT log_changed_at_not_null NOT NULL,
    actor_id uuid,
    request_id text
);
CREATE TABLE caudex_audit.turns (
);
CREATE TABLE caudex_auth.names (
);
CREATE TABLE caudex_auth.networks (
    user_id uuid NOT NULL,
    network text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE caudex_auth.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    address text NOT NULL,
    user_agent text NOT NULL,
    parent_hash text,
    current_hash text NOT NULL,
    next_hash text,
    advanced_at timestamp with time zone
);
CREATE TABLE caudex_auth.throttle (
    key text NOT NULL,
    failures integer NOT NULL,
    since timestamp with time zone NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    blocked_until timestamp with time zone
);
CREATE TABLE caudex_auth.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    username text NOT NULL,
    username_key text NOT NULL,
    email text,
    email_key text,
    display_name text,
    password_hash text NOT NULL,
    disabled boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    withdrawals integer DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_cron.apps (
    app_id text NOT NULL,
    stamp bigint NOT NULL,
    born bigint DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_cron.crons (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    app_id text NOT NULL,
    name text NOT NULL,
    place integer NOT NULL,
    schedule text NOT NULL,
    timezone text NOT NULL,
    overlap text NOT NULL,
    payload json NOT NULL,
    enabled boolean NOT NULL,
    declared boolean NOT NULL,
    next_due timestamp with time zone NOT NULL,
    last_job text,
    CONSTRAINT crons_overlap_check CHECK ((overlap = ANY (ARRAY['skip'::text, 'queue'::text, 'allow'::text])))
);
ALTER TABLE caudex_cron.runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME caudex_cron.runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE caudex_jobs.lives (
    app_id text NOT NULL,
    born bigint NOT NULL
);
CREATE TABLE caudex_jobs.turns (
    name text NOT NULL
);
CREATE TABLE caudex_kernel.channel (
    name text NOT NULL
);
CREATE TABLE caudex_kernel.keys (
    name text NOT NULL,
    fingerprint text NOT NULL
);
CREATE TABLE caudex_kernel.migrations (
    plugin text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE caudex_kernel.revisions (
    topic text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE caudex_logs.lines (
    id bigint NOT NULL,
    app_id text NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    ts timestamp with time zone NOT NULL
);
ALTER TABLE caudex_logs.lines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME caudex_logs.lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE caudex_logs.lives (
    app_id text NOT NULL,
    born bigint NOT NULL
);
CREATE TABLE caudex_logs.turns (
    number integer NOT NULL
);
CREATE TABLE caudex_oidc.granted (
    user_id uuid NOT NULL,
    app_id text NOT NULL,
    role text NOT NULL
);
CREATE TABLE caudex_oidc.handovers (
    code_hash text NOT NULL,
    challenge text NOT NULL,
    user_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE caudex_oidc.links (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE caudex_rbac.apps (
    app_id text NOT NULL,
    entities text[] DEFAULT '{}'::text[] NOT NULL,
    permissions jsonb DEFAULT '[]'::jsonb NOT NULL,
    born bigint DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_rbac.assignments (
    app_id text NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    assigned_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE caudex_rbac.roles (
    app_id text NOT NULL,
    name text NOT NULL,
    description text,
    inherits text[] DEFAULT '{}'::text[] NOT NULL,
    permissions text[] DEFAULT '{}'::text[] NOT NULL
);
CREATE TABLE caudex_rbac.turns (
    number integer NOT NULL
);
CREATE TABLE caudex_vault.data_keys (
    id uuid NOT NULL,
    scope text NOT NULL,
    app_id text NOT NULL,
    master_id text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT data_keys_scope_check CHECK ((scope = ANY (ARRAY['app'::text, 'platform'::text])))
);
CREATE TABLE caudex_vault.lives (
    app_id text NOT NULL,
    born bigint NOT NULL
);
CREATE TABLE caudex_vault.master (
    only_row boolean DEFAULT true NOT NULL,
    key_id text NOT NULL,
    CONSTRAINT master_only_row_check CHECK (only_row)
);
CREATE TABLE caudex_vault.secrets (
    scope text NOT NULL,
    app_id text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    data_key uuid NOT NULL,
    sealed bytea NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT secrets_scope_check CHECK ((scope = ANY (ARRAY['app'::text, 'platform'::text])))
);
CREATE TABLE caudex_vault_file.folder (
    only_row boolean DEFAULT true NOT NULL,
    id text NOT NULL,
    key_id text NOT NULL,
    CONSTRAINT folder_only_row_check CHECK (only_row)
);
CREATE TABLE caudex_vault_file.lives (
    app_id text NOT NULL,
    born bigint NOT NULL
);
CREATE SEQUENCE caudex_workers.numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE caudex_workers.apps (
    app_id text NOT NULL,
    number bigint DEFAULT nextval('caudex_workers.numbers'::regclass) NOT NULL,
    next_version integer DEFAULT 1 NOT NULL,
    version integer,
    wanted boolean DEFAULT false NOT NULL,
    attempt bigint DEFAULT 0 NOT NULL,
    login_password text,
    born bigint DEFAULT 0 NOT NULL
);
CREATE TABLE caudex_workers.chunks (
    app_id text NOT NULL,
    version integer NOT NULL,
    "position" integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY caudex_workers.chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE caudex_workers.replicas (
    server_id uuid NOT NULL,
    app_id text NOT NULL,
    state text NOT NULL,
    version integer,
    heartbeat timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE caudex_workers.versions (
    app_id text NOT NULL,
    version integer NOT NULL,
    digest text NOT NULL,
    size bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by uuid
);
CREATE TABLE crm.contacts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    name text,
    tags text[]
);
CREATE TABLE crm.deals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    title text,
    amount double precision,
    contact uuid
);
CREATE TABLE early.contacts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    name text,
    tags text[]
);
CREATE TABLE early.deals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    title text,
    amount double precision,
    contact uuid
);
CREATE TABLE swapped.contacts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    name text,
    tags text[]
);
CREATE TABLE swapped.deals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    _owner uuid,
    title text,
    amount double precision,
    contact uuid
);
ALTER TABLE ONLY caudex_audit.log ATTACH PARTITION caudex_audit.log_2026_11 FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
ALTER TABLE ONLY caudex_audit.log ATTACH PARTITION caudex_audit.log_2026_12 FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
ALTER TABLE ONLY caudex_audit.log ATTACH PARTITION caudex_audit.log_2027_01 FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00');
ALTER TABLE ONLY caudex_audit.log ATTACH PARTITION caudex_audit.log_default DEFAULT;
ALTER TABLE ONLY caudex_audit.log ALTER COLUMN id SET DEFAULT nextval('caudex_audit.log_id'::regclass);
INSERT INTO again.contacts VALUES ('3df263c4-7ec9-410f-86cc-e968ec7e164f', '2026-11-28 03:05:14.602071+00', '2026-11-28 03:05:14.602071+00', 'be295e84-2719-489e-a38d-c481a313181a', 'new', '{}');
INSERT INTO caudex_apps.apps VALUES ('swapped', 'SWAPPED', '1.0.0', '{"appId":"swapped","name":"SWAPPED","version":"1.0.0","dataContract":[{"entityName":"contacts","fields":[{"name":"name","type":"text"},{"name":"tags","type":"[text]"}]},{"entityName":"deals","fields":[{"name":"title","type":"text"},{"name":"amount","type":"number"},{"name":"contact","type":"entity_link","references":{"entity":"contacts","field":"id"}}]}],"crons":[{"name":"nightly","schedule":"0 3 * * *"}]}', '{"id":"swapped","name":"SWAPPED","version":"1.0.0","version_stamp":4,"born":0,"entities":{"contacts":{"app_id":"swapped","name":"contacts","id_type":"uuid","id_declared":false,"fields":[{"name":"name","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"tags","type":"[text]","sql_type":"text[]","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"}],"constraints":{"_contacts_id_pkey_8d982414":["id"]}},"deals":{"app_id":"swapped","name":"deals","id_type":"uuid","id_declared":false,"fields":[{"name":"title","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"amount","type":"number","sql_type":"double precision","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"contact","type":"entity_link","sql_type":"uuid","required":false,"default":null,"enum_values":[],"references":{"entity":"contacts","field":"id"},"on_delete":"set_null"}],"constraints":{"_deals_id_pkey_32fbbd9a":["id"],"_deals_contact_fkey_42ee8fc1":["contact"]}}},"permissions":[]}', 4, '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.362658+00', '2026-11-28 03:05:14.362658+00', 4);
INSERT INTO caudex_apps.apps VALUES ('early', 'EARLY', '1.0.0', '{"appId":"early","name":"EARLY","version":"1.0.0","dataContract":[{"entityName":"contacts","fields":[{"name":"name","type":"text"},{"name":"tags","type":"[text]"}]},{"entityName":"deals","fields":[{"name":"title","type":"text"},{"name":"amount","type":"number"},{"name":"contact","type":"entity_link","references":{"entity":"contacts","field":"id"}}]}],"crons":[{"name":"nightly","schedule":"0 3 * * *"}]}', '{"id":"early","name":"EARLY","version":"1.0.0","version_stamp":2,"born":0,"entities":{"contacts":{"app_id":"early","name":"contacts","id_type":"uuid","id_declared":false,"fields":[{"name":"name","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"tags","type":"[text]","sql_type":"text[]","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"}],"constraints":{"_contacts_id_pkey_8d982414":["id"]}},"deals":{"app_id":"early","name":"deals","id_type":"uuid","id_declared":false,"fields":[{"name":"title","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"amount","type":"number","sql_type":"double precision","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"contact","type":"entity_link","sql_type":"uuid","required":false,"default":null,"enum_values":[],"references":{"entity":"contacts","field":"id"},"on_delete":"set_null"}],"constraints":{"_deals_id_pkey_32fbbd9a":["id"],"_deals_contact_fkey_8d96d09c":["contact"]}}},"permissions":[]}', 2, '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.20369+00', '2026-11-28 03:05:14.20369+00', 0);
INSERT INTO caudex_apps.apps VALUES ('crm', 'CRM', '1.1.0', '{"appId":"crm","name":"CRM","version":"1.1.0","dataContract":[{"entityName":"contacts","fields":[{"name":"name","type":"text"},{"name":"tags","type":"[text]"}]},{"entityName":"deals","fields":[{"name":"title","type":"text"},{"name":"amount","type":"number"},{"name":"contact","type":"entity_link","references":{"entity":"contacts","field":"id"}}]}],"crons":[{"name":"nightly","schedule":"0 3 * * *"}]}', '{"id":"crm","name":"CRM","version":"1.1.0","version_stamp":6,"born":0,"entities":{"contacts":{"app_id":"crm","name":"contacts","id_type":"uuid","id_declared":false,"fields":[{"name":"name","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"tags","type":"[text]","sql_type":"text[]","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"}],"constraints":{"_contacts_id_pkey_8d982414":["id"]}},"deals":{"app_id":"crm","name":"deals","id_type":"uuid","id_declared":false,"fields":[{"name":"title","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"amount","type":"number","sql_type":"double precision","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"contact","type":"entity_link","sql_type":"uuid","required":false,"default":null,"enum_values":[],"references":{"entity":"contacts","field":"id"},"on_delete":"set_null"}],"constraints":{"_deals_id_pkey_32fbbd9a":["id"],"_deals_contact_fkey_a49b6a22":["contact"]}}},"permissions":[]}', 6, '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.135893+00', '2026-11-28 03:05:14.477254+00', 1);
INSERT INTO caudex_apps.apps VALUES ('again', 'AGAIN', '1.0.0', '{"appId":"again","name":"AGAIN","version":"1.0.0","dataContract":[{"entityName":"contacts","fields":[{"name":"name","type":"text"},{"name":"tags","type":"[text]"}]},{"entityName":"deals","fields":[{"name":"title","type":"text"},{"name":"amount","type":"number"},{"name":"contact","type":"entity_link","references":{"entity":"contacts","field":"id"}}]}]}', '{"id":"again","name":"AGAIN","version":"1.0.0","version_stamp":7,"born":0,"entities":{"contacts":{"app_id":"again","name":"contacts","id_type":"uuid","id_declared":false,"fields":[{"name":"name","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"tags","type":"[text]","sql_type":"text[]","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"}],"constraints":{"_contacts_id_pkey_8d982414":["id"]}},"deals":{"app_id":"again","name":"deals","id_type":"uuid","id_declared":false,"fields":[{"name":"title","type":"text","sql_type":"text","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"amount","type":"number","sql_type":"double precision","required":false,"default":null,"enum_values":[],"references":null,"on_delete":"set_null"},{"name":"contact","type":"entity_link","sql_type":"uuid","required":false,"default":null,"enum_values":[],"references":{"entity":"contacts","field":"id"},"on_delete":"set_null"}],"constraints":{"_deals_id_pkey_32fbbd9a":["id"],"_deals_contact_fkey_9dcb43a0":["contact"]}}},"permissions":[]}', 7, '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.557781+00', '2026-11-28 03:05:14.557781+00', 7);
INSERT INTO caudex_apps.columns VALUES ('early', 'deals', 'title', NULL);
INSERT INTO caudex_apps.columns VALUES ('early', 'deals', 'amount', NULL);
INSERT INTO caudex_apps.columns VALUES ('early', 'deals', 'contact', NULL);
INSERT INTO caudex_apps.columns VALUES ('early', 'contacts', 'name', NULL);
INSERT INTO caudex_apps.columns VALUES ('early', 'contacts', 'tags', NULL);
INSERT INTO caudex_apps.columns VALUES ('swapped', 'deals', 'title', NULL);
INSERT INTO caudex_apps.columns VALUES ('swapped', 'deals', 'amount', NULL);
INSERT INTO caudex_apps.columns VALUES ('swapped', 'deals', 'contact', NULL);
INSERT INTO caudex_apps.columns VALUES ('swapped', 'contacts', 'name', NULL);
INSERT INTO caudex_apps.columns VALUES ('swapped', 'contacts', 'tags', NULL);
INSERT INTO caudex_apps.columns VALUES ('crm', 'deals', 'title', NULL);
INSERT INTO caudex_apps.columns VALUES ('crm', 'deals', 'amount', NULL);
INSERT INTO caudex_apps.columns VALUES ('crm', 'deals', 'contact', NULL);
INSERT INTO caudex_apps.columns VALUES ('crm', 'contacts', 'name', NULL);
INSERT INTO caudex_apps.columns VALUES ('crm', 'contacts', 'tags', NULL);
INSERT INTO caudex_apps.columns VALUES ('again', 'deals', 'title', NULL);
INSERT INTO caudex_apps.columns VALUES ('again', 'deals', 'amount', NULL);
INSERT INTO caudex_apps.columns VALUES ('again', 'deals', 'contact', NULL);
INSERT INTO caudex_apps.columns VALUES ('again', 'contacts', 'name', NULL);
INSERT INTO caudex_apps.columns VALUES ('again', 'contacts', 'tags', NULL);
INSERT INTO caudex_apps.entities VALUES ('early', 'deals', NULL);
INSERT INTO caudex_apps.entities VALUES ('early', 'contacts', NULL);
INSERT INTO caudex_apps.entities VALUES ('swapped', 'deals', NULL);
INSERT INTO caudex_apps.entities VALUES ('swapped', 'contacts', NULL);
INSERT INTO caudex_apps.entities VALUES ('crm', 'deals', NULL);
INSERT INTO caudex_apps.entities VALUES ('crm', 'contacts', NULL);
INSERT INTO caudex_apps.entities VALUES ('again', 'deals', NULL);
INSERT INTO caudex_apps.entities VALUES ('again', 'contacts', NULL);
INSERT INTO caudex_apps.turns VALUES ('early');
INSERT INTO caudex_apps.turns VALUES ('swapped');
INSERT INTO caudex_apps.turns VALUES ('removed');
INSERT INTO caudex_apps.turns VALUES ('crm');
INSERT INTO caudex_apps.turns VALUES ('again');
INSERT INTO caudex_audit.kinds VALUES ('core', 'role_assignments', 'ROLE_ASSIGNED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'users', 'REGISTER');
INSERT INTO caudex_audit.kinds VALUES ('core', 'sessions', 'LOGIN');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'contacts', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'contacts', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'contacts', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'contacts', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'deals', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'deals', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'deals', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('crm', 'deals', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('core', 'apps', 'APP_INSTALLED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'roles', 'ROLE_CREATED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'secrets', 'SECRET_SET');
INSERT INTO caudex_audit.kinds VALUES ('early', 'contacts', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('early', 'contacts', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('early', 'contacts', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('early', 'contacts', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('early', 'deals', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('early', 'deals', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('early', 'deals', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('early', 'deals', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'contacts', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('again', 'contacts', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'contacts', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'contacts', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'deals', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('again', 'deals', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'deals', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('again', 'deals', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'contacts', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'contacts', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'contacts', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'contacts', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'deals', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'deals', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'deals', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('swapped', 'deals', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'contacts', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'contacts', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'contacts', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'contacts', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'deals', 'INSERT');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'deals', 'UPDATE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'deals', 'DELETE');
INSERT INTO caudex_audit.kinds VALUES ('removed', 'deals', 'TRUNCATE');
INSERT INTO caudex_audit.kinds VALUES ('core', 'apps', 'APP_UPDATED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'apps', 'APP_REMOVED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'workers', 'DEPLOYED');
INSERT INTO caudex_audit.kinds VALUES ('core', 'workers', 'WORKER_STOPPED');
INSERT INTO caudex_audit.lives VALUES ('crm', 9, 1);
INSERT INTO caudex_audit.lives VALUES ('removed', 57, 5);
INSERT INTO caudex_audit.lives VALUES ('again', 73, 7);
INSERT INTO caudex_audit.lives VALUES ('swapped', 45, 1);
INSERT INTO caudex_audit.log_2026_11 VALUES (1, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "core", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:13.977398+00', NULL, 'a6e3c2071c242086f43563dea9869f03');
INSERT INTO caudex_audit.log_2026_11 VALUES (2, 'core', 'users', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'REGISTER', NULL, '{"id": "4cd52ce6-736e-437e-9fbf-7aefecb82162", "email": null, "username": "admin", "createdAt": "2026-11-28T03:05:13.977398+00:00", "created_at": "2026-11-28T03:05:13.977398+00:00", "displayName": null, "display_name": null}', '2026-11-28 03:05:13.977398+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'a6e3c2071c242086f43563dea9869f03');
INSERT INTO caudex_audit.log_2026_11 VALUES (3, 'core', 'sessions', 'dada1355-f0a0-4869-9c57-7bdc421ecad9', 'LOGIN', NULL, '{"address": "127.0.0.1", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.082636+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'cc8cc56b5fa0743bd6f7790b2722e8f7');
INSERT INTO caudex_audit.log_2026_11 VALUES (4, 'core', 'users', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'REGISTER', NULL, '{"id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b", "email": null, "username": "ada", "createdAt": "2026-11-28T03:05:14.101035+00:00", "created_at": "2026-11-28T03:05:14.101035+00:00", "displayName": null, "display_name": null}', '2026-11-28 03:05:14.101035+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '6807eed58e1a477e766cd88f698b150e');
INSERT INTO caudex_audit.log_2026_11 VALUES (5, 'core', 'sessions', '3f5f9089-61b9-40a1-8c6a-24348d06a231', 'LOGIN', NULL, '{"address": "127.0.0.1", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.107493+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '7e364889ce20bb72028ee5b1630df5ae');
INSERT INTO caudex_audit.log_2026_11 VALUES (6, 'core', 'users', 'be295e84-2719-489e-a38d-c481a313181a', 'REGISTER', NULL, '{"id": "be295e84-2719-489e-a38d-c481a313181a", "email": null, "username": "bob", "createdAt": "2026-11-28T03:05:14.116058+00:00", "created_at": "2026-11-28T03:05:14.116058+00:00", "displayName": null, "display_name": null}', '2026-11-28 03:05:14.116058+00', 'be295e84-2719-489e-a38d-c481a313181a', '54e2475a546a5d1b4ea4ed2a0f6d4bfb');
INSERT INTO caudex_audit.log_2026_11 VALUES (7, 'core', 'sessions', 'afd2288c-c7d3-4af6-bfe7-5e3ccecf7b60', 'LOGIN', NULL, '{"address": "127.0.0.1", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.123215+00', 'be295e84-2719-489e-a38d-c481a313181a', '6ee3fb2f480ee28a1c919632b47fc68a');
INSERT INTO caudex_audit.log_2026_11 VALUES (8, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "crm", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.135893+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '5593271bc672b9e122ac062c6b8c8964');
INSERT INTO caudex_audit.log_2026_11 VALUES (10, 'core', 'apps', 'crm', 'APP_INSTALLED', NULL, '{"id": "crm", "name": "CRM", "version": "1.0.0"}', '2026-11-28 03:05:14.135893+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '5593271bc672b9e122ac062c6b8c8964');
INSERT INTO caudex_audit.log_2026_11 VALUES (11, 'core', 'role_assignments', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "crm", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.170496+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'b35a58349578b78781788509d32406c7');
INSERT INTO caudex_audit.log_2026_11 VALUES (12, 'core', 'roles', 'reader', 'ROLE_CREATED', NULL, '{"name": "reader", "app_id": "crm", "inherits": [], "description": null, "permissions": ["contacts.read"]}', '2026-11-28 03:05:14.174091+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '0d232480fd26919a75fbf2e658b3b538');
INSERT INTO caudex_audit.log_2026_11 VALUES (13, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "reader", "app_id": "crm", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.178826+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '790c285964f6a39ecddd79396133b663');
INSERT INTO caudex_audit.log_2026_11 VALUES (14, 'core', 'secrets', 'crm/TOKEN', 'SECRET_SET', NULL, '{"key": "TOKEN", "scope": "app", "app_id": "crm"}', '2026-11-28 03:05:14.183855+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '5df6ccae3a44f0a64fff78cee3d6ca83');
INSERT INTO caudex_audit.log_2026_11 VALUES (15, 'crm', 'contacts', '0a276769-f02a-4cec-8b57-728b93ebd965', 'INSERT', NULL, '{"id": "0a276769-f02a-4cec-8b57-728b93ebd965", "name": "Eve", "tags": ["a", "crm"], "created_at": "2026-11-28T03:05:14.190245+00:00", "updated_at": "2026-11-28T03:05:14.190245+00:00"}', '2026-11-28 03:05:14.190245+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '396df3498d3d016e9e418d5c45384285');
INSERT INTO caudex_audit.log_2026_11 VALUES (16, 'crm', 'contacts', 'df640bc1-5db9-4985-bbd0-5e63bf65359b', 'INSERT', NULL, '{"id": "df640bc1-5db9-4985-bbd0-5e63bf65359b", "name": "Mallory", "tags": ["a", "crm"], "created_at": "2026-11-28T03:05:14.195279+00:00", "updated_at": "2026-11-28T03:05:14.195279+00:00"}', '2026-11-28 03:05:14.195279+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'b1ab468c0d5e18c6e876227b39f74f0e');
INSERT INTO caudex_audit.log_2026_11 VALUES (17, 'crm', 'deals', '53f1e4bf-292e-42ea-833d-cf1f5a0375fb', 'INSERT', NULL, '{"id": "53f1e4bf-292e-42ea-833d-cf1f5a0375fb", "title": "big", "amount": 12.5, "contact": "0a276769-f02a-4cec-8b57-728b93ebd965", "created_at": "2026-11-28T03:05:14.197021+00:00", "updated_at": "2026-11-28T03:05:14.197021+00:00"}', '2026-11-28 03:05:14.197021+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '3c4b36676d3fc5356992a45d41c011b8');
INSERT INTO caudex_audit.log_2026_11 VALUES (18, 'crm', 'contacts', '0a276769-f02a-4cec-8b57-728b93ebd965', 'UPDATE', '{"id": "0a276769-f02a-4cec-8b57-728b93ebd965", "name": "Eve", "tags": ["a", "crm"], "created_at": "2026-11-28T03:05:14.190245+00:00", "updated_at": "2026-11-28T03:05:14.190245+00:00"}', '{"id": "0a276769-f02a-4cec-8b57-728b93ebd965", "name": "Eva", "tags": ["a", "crm"], "created_at": "2026-11-28T03:05:14.190245+00:00", "updated_at": "2026-11-28T03:05:14.199407+00:00"}', '2026-11-28 03:05:14.199407+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'df7743dd8f1981454f9d72c9f1a13525');
INSERT INTO caudex_audit.log_2026_11 VALUES (19, 'crm', 'contacts', 'df640bc1-5db9-4985-bbd0-5e63bf65359b', 'DELETE', '{"id": "df640bc1-5db9-4985-bbd0-5e63bf65359b", "name": "Mallory", "tags": ["a", "crm"], "created_at": "2026-11-28T03:05:14.195279+00:00", "updated_at": "2026-11-28T03:05:14.195279+00:00"}', NULL, '2026-11-28 03:05:14.200935+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'b15de0be08f25f76787867822b9212e6');
INSERT INTO caudex_audit.log_2026_11 VALUES (20, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "early", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.20369+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '304904c912f71430db8fabca08ee3bec');
INSERT INTO caudex_audit.log_2026_11 VALUES (22, 'core', 'apps', 'early', 'APP_INSTALLED', NULL, '{"id": "early", "name": "EARLY", "version": "1.0.0"}', '2026-11-28 03:05:14.20369+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '304904c912f71430db8fabca08ee3bec');
INSERT INTO caudex_audit.log_2026_11 VALUES (23, 'core', 'role_assignments', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "early", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.230977+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'c1162094488c7e0742cba27d05532dee');
INSERT INTO caudex_audit.log_2026_11 VALUES (24, 'core', 'roles', 'reader', 'ROLE_CREATED', NULL, '{"name": "reader", "app_id": "early", "inherits": [], "description": null, "permissions": ["contacts.read"]}', '2026-11-28 03:05:14.234327+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'bc7467e91035ab9bde63074efe4f6880');
INSERT INTO caudex_audit.log_2026_11 VALUES (25, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "reader", "app_id": "early", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.23706+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'b3432e750b3d058c3a735f9136d8ed92');
INSERT INTO caudex_audit.log_2026_11 VALUES (26, 'core', 'secrets', 'early/TOKEN', 'SECRET_SET', NULL, '{"key": "TOKEN", "scope": "app", "app_id": "early"}', '2026-11-28 03:05:14.241169+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'c57a774d4607877daf7b2922dc33c067');
INSERT INTO caudex_audit.log_2026_11 VALUES (27, 'early', 'contacts', 'a32faf54-3526-49f5-986c-488c05fe4325', 'INSERT', NULL, '{"id": "a32faf54-3526-49f5-986c-488c05fe4325", "name": "Eve", "tags": ["a", "early"], "created_at": "2026-11-28T03:05:14.248943+00:00", "updated_at": "2026-11-28T03:05:14.248943+00:00"}', '2026-11-28 03:05:14.248943+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '6e0e2b60e69095e3115424d61b2c161d');
INSERT INTO caudex_audit.log_2026_11 VALUES (28, 'early', 'contacts', '4ee517d9-7abe-4b7f-a86e-fe2ab13511bb', 'INSERT', NULL, '{"id": "4ee517d9-7abe-4b7f-a86e-fe2ab13511bb", "name": "Mallory", "tags": ["a", "early"], "created_at": "2026-11-28T03:05:14.252515+00:00", "updated_at": "2026-11-28T03:05:14.252515+00:00"}', '2026-11-28 03:05:14.252515+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'f87fcbba76ce7d3e43c2039c1f5dd656');
INSERT INTO caudex_audit.log_2026_11 VALUES (29, 'early', 'deals', '030bb22f-febb-40c3-9c5c-12b5a5b663e3', 'INSERT', NULL, '{"id": "030bb22f-febb-40c3-9c5c-12b5a5b663e3", "title": "big", "amount": 12.5, "contact": "a32faf54-3526-49f5-986c-488c05fe4325", "created_at": "2026-11-28T03:05:14.256686+00:00", "updated_at": "2026-11-28T03:05:14.256686+00:00"}', '2026-11-28 03:05:14.256686+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '6cd80a471b15b324a4b2acbabbb61997');
INSERT INTO caudex_audit.log_2026_11 VALUES (30, 'early', 'contacts', 'a32faf54-3526-49f5-986c-488c05fe4325', 'UPDATE', '{"id": "a32faf54-3526-49f5-986c-488c05fe4325", "name": "Eve", "tags": ["a", "early"], "created_at": "2026-11-28T03:05:14.248943+00:00", "updated_at": "2026-11-28T03:05:14.248943+00:00"}', '{"id": "a32faf54-3526-49f5-986c-488c05fe4325", "name": "Eva", "tags": ["a", "early"], "created_at": "2026-11-28T03:05:14.248943+00:00", "updated_at": "2026-11-28T03:05:14.259375+00:00"}', '2026-11-28 03:05:14.259375+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'fdd1c679f9dc143f15f9aa086abd8c87');
INSERT INTO caudex_audit.log_2026_11 VALUES (31, 'early', 'contacts', '4ee517d9-7abe-4b7f-a86e-fe2ab13511bb', 'DELETE', '{"id": "4ee517d9-7abe-4b7f-a86e-fe2ab13511bb", "name": "Mallory", "tags": ["a", "early"], "created_at": "2026-11-28T03:05:14.252515+00:00", "updated_at": "2026-11-28T03:05:14.252515+00:00"}', NULL, '2026-11-28 03:05:14.260906+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '68416e25acd72d4986d78759369327d2');
INSERT INTO caudex_audit.log_2026_11 VALUES (39, 'again', 'contacts', 'be68c211-f861-4187-b198-09a4fc5ed479', 'INSERT', NULL, '{"id": "be68c211-f861-4187-b198-09a4fc5ed479", "name": "Eve", "tags": ["a", "again"], "created_at": "2026-11-28T03:05:14.349032+00:00", "updated_at": "2026-11-28T03:05:14.349032+00:00"}', '2026-11-28 03:05:14.349032+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'bc7a18c14d17363288fbacd38f2f68f6');
INSERT INTO caudex_audit.log_2026_11 VALUES (40, 'again', 'contacts', 'e35e6d43-eeb2-44a4-9f9e-43259b9f0bf1', 'INSERT', NULL, '{"id": "e35e6d43-eeb2-44a4-9f9e-43259b9f0bf1", "name": "Mallory", "tags": ["a", "again"], "created_at": "2026-11-28T03:05:14.351993+00:00", "updated_at": "2026-11-28T03:05:14.351993+00:00"}', '2026-11-28 03:05:14.351993+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'b7c0b344e7151d2c62f4136ffb9df240');
INSERT INTO caudex_audit.log_2026_11 VALUES (41, 'again', 'deals', '7f2c7d83-b9dc-48c2-abf3-becb4bfc563c', 'INSERT', NULL, '{"id": "7f2c7d83-b9dc-48c2-abf3-becb4bfc563c", "title": "big", "amount": 12.5, "contact": "be68c211-f861-4187-b198-09a4fc5ed479", "created_at": "2026-11-28T03:05:14.35675+00:00", "updated_at": "2026-11-28T03:05:14.35675+00:00"}', '2026-11-28 03:05:14.35675+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'cb47c9ebc251f4687c1ee13387552334');
INSERT INTO caudex_audit.log_2026_11 VALUES (42, 'again', 'contacts', 'be68c211-f861-4187-b198-09a4fc5ed479', 'UPDATE', '{"id": "be68c211-f861-4187-b198-09a4fc5ed479", "name": "Eve", "tags": ["a", "again"], "created_at": "2026-11-28T03:05:14.349032+00:00", "updated_at": "2026-11-28T03:05:14.349032+00:00"}', '{"id": "be68c211-f861-4187-b198-09a4fc5ed479", "name": "Eva", "tags": ["a", "again"], "created_at": "2026-11-28T03:05:14.349032+00:00", "updated_at": "2026-11-28T03:05:14.359072+00:00"}', '2026-11-28 03:05:14.359072+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'f52c82ec411f63d5ef1eef76494c3f19');
INSERT INTO caudex_audit.log_2026_11 VALUES (43, 'again', 'contacts', 'e35e6d43-eeb2-44a4-9f9e-43259b9f0bf1', 'DELETE', '{"id": "e35e6d43-eeb2-44a4-9f9e-43259b9f0bf1", "name": "Mallory", "tags": ["a", "again"], "created_at": "2026-11-28T03:05:14.351993+00:00", "updated_at": "2026-11-28T03:05:14.351993+00:00"}', NULL, '2026-11-28 03:05:14.360336+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '8b98fd79d425a379c05b715b95b868b5');
INSERT INTO caudex_audit.log_2026_11 VALUES (51, 'swapped', 'contacts', '4a0ec4be-4831-41fe-8eb5-baeeb0faa558', 'INSERT', NULL, '{"id": "4a0ec4be-4831-41fe-8eb5-baeeb0faa558", "name": "Eve", "tags": ["a", "swapped"], "created_at": "2026-11-28T03:05:14.395074+00:00", "updated_at": "2026-11-28T03:05:14.395074+00:00"}', '2026-11-28 03:05:14.395074+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '90cf80244cd34bc53b7e0b504e8e8f05');
INSERT INTO caudex_audit.log_2026_11 VALUES (52, 'swapped', 'contacts', 'c9b6658f-0f7e-4318-9294-6ef3eb7432de', 'INSERT', NULL, '{"id": "c9b6658f-0f7e-4318-9294-6ef3eb7432de", "name": "Mallory", "tags": ["a", "swapped"], "created_at": "2026-11-28T03:05:14.397122+00:00", "updated_at": "2026-11-28T03:05:14.397122+00:00"}', '2026-11-28 03:05:14.397122+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '92372f81cfbe76b84b09876fc741a4f0');
INSERT INTO caudex_audit.log_2026_11 VALUES (53, 'swapped', 'deals', 'e4eab897-fea4-4382-9c7f-2713758beb10', 'INSERT', NULL, '{"id": "e4eab897-fea4-4382-9c7f-2713758beb10", "title": "big", "amount": 12.5, "contact": "4a0ec4be-4831-41fe-8eb5-baeeb0faa558", "created_at": "2026-11-28T03:05:14.398329+00:00", "updated_at": "2026-11-28T03:05:14.398329+00:00"}', '2026-11-28 03:05:14.398329+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '9e89437db20598f1333b514ef340aefa');
INSERT INTO caudex_audit.log_2026_11 VALUES (54, 'swapped', 'contacts', '4a0ec4be-4831-41fe-8eb5-baeeb0faa558', 'UPDATE', '{"id": "4a0ec4be-4831-41fe-8eb5-baeeb0faa558", "name": "Eve", "tags": ["a", "swapped"], "created_at": "2026-11-28T03:05:14.395074+00:00", "updated_at": "2026-11-28T03:05:14.395074+00:00"}', '{"id": "4a0ec4be-4831-41fe-8eb5-baeeb0faa558", "name": "Eva", "tags": ["a", "swapped"], "created_at": "2026-11-28T03:05:14.395074+00:00", "updated_at": "2026-11-28T03:05:14.400882+00:00"}', '2026-11-28 03:05:14.400882+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '0bee39b8c8654706c735760ec8c211bf');
INSERT INTO caudex_audit.log_2026_11 VALUES (55, 'swapped', 'contacts', 'c9b6658f-0f7e-4318-9294-6ef3eb7432de', 'DELETE', '{"id": "c9b6658f-0f7e-4318-9294-6ef3eb7432de", "name": "Mallory", "tags": ["a", "swapped"], "created_at": "2026-11-28T03:05:14.397122+00:00", "updated_at": "2026-11-28T03:05:14.397122+00:00"}', NULL, '2026-11-28 03:05:14.402308+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '13b47078de5170d9146609b9c5311e4a');
INSERT INTO caudex_audit.log_2026_11 VALUES (63, 'removed', 'contacts', '7cccbf55-a8a7-4270-938e-9c070ccd6b0a', 'INSERT', NULL, '{"id": "7cccbf55-a8a7-4270-938e-9c070ccd6b0a", "name": "Eve", "tags": ["a", "removed"], "created_at": "2026-11-28T03:05:14.454651+00:00", "updated_at": "2026-11-28T03:05:14.454651+00:00"}', '2026-11-28 03:05:14.454651+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'b2995ae4308b5a2777a6ee5285e8a349');
INSERT INTO caudex_audit.log_2026_11 VALUES (64, 'removed', 'contacts', '3154c638-a8fd-4a42-863a-38aea8c769de', 'INSERT', NULL, '{"id": "3154c638-a8fd-4a42-863a-38aea8c769de", "name": "Mallory", "tags": ["a", "removed"], "created_at": "2026-11-28T03:05:14.460821+00:00", "updated_at": "2026-11-28T03:05:14.460821+00:00"}', '2026-11-28 03:05:14.460821+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '0bff35f9b5d4ce5a1a021c30de3b4eca');
INSERT INTO caudex_audit.log_2026_11 VALUES (65, 'removed', 'deals', '0fe984e0-1ca2-46fc-910b-b3add7fdab5e', 'INSERT', NULL, '{"id": "0fe984e0-1ca2-46fc-910b-b3add7fdab5e", "title": "big", "amount": 12.5, "contact": "7cccbf55-a8a7-4270-938e-9c070ccd6b0a", "created_at": "2026-11-28T03:05:14.46228+00:00", "updated_at": "2026-11-28T03:05:14.46228+00:00"}', '2026-11-28 03:05:14.46228+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'e69db993335196f503a08009ec76539d');
INSERT INTO caudex_audit.log_2026_11 VALUES (66, 'removed', 'contacts', '7cccbf55-a8a7-4270-938e-9c070ccd6b0a', 'UPDATE', '{"id": "7cccbf55-a8a7-4270-938e-9c070ccd6b0a", "name": "Eve", "tags": ["a", "removed"], "created_at": "2026-11-28T03:05:14.454651+00:00", "updated_at": "2026-11-28T03:05:14.454651+00:00"}', '{"id": "7cccbf55-a8a7-4270-938e-9c070ccd6b0a", "name": "Eva", "tags": ["a", "removed"], "created_at": "2026-11-28T03:05:14.454651+00:00", "updated_at": "2026-11-28T03:05:14.464469+00:00"}', '2026-11-28 03:05:14.464469+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'bfc2006bc4ee90a71b3a041a9b0527e1');
INSERT INTO caudex_audit.log_2026_11 VALUES (67, 'removed', 'contacts', '3154c638-a8fd-4a42-863a-38aea8c769de', 'DELETE', '{"id": "3154c638-a8fd-4a42-863a-38aea8c769de", "name": "Mallory", "tags": ["a", "removed"], "created_at": "2026-11-28T03:05:14.460821+00:00", "updated_at": "2026-11-28T03:05:14.460821+00:00"}', NULL, '2026-11-28 03:05:14.466396+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '8e59e239d43db92608a792dff1499844');
INSERT INTO caudex_audit.log_2026_11 VALUES (76, 'again', 'contacts', '3df263c4-7ec9-410f-86cc-e968ec7e164f', 'INSERT', NULL, '{"id": "3df263c4-7ec9-410f-86cc-e968ec7e164f", "name": "new", "tags": [], "created_at": "2026-11-28T03:05:14.602071+00:00", "updated_at": "2026-11-28T03:05:14.602071+00:00"}', '2026-11-28 03:05:14.602071+00', 'be295e84-2719-489e-a38d-c481a313181a', '3a34dd1e327da69706b0e0d7434a5364');
INSERT INTO caudex_audit.log_2026_11 VALUES (32, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "again", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.267477+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '7078090557ac1877f5927c0fc7d40fdc');
INSERT INTO caudex_audit.log_2026_11 VALUES (34, 'core', 'apps', 'again', 'APP_INSTALLED', NULL, '{"id": "again", "name": "AGAIN", "version": "1.0.0"}', '2026-11-28 03:05:14.267477+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '7078090557ac1877f5927c0fc7d40fdc');
INSERT INTO caudex_audit.log_2026_11 VALUES (35, 'core', 'role_assignments', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "again", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.317477+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'd543dc16bd44354cd1c0a8ea920ca2eb');
INSERT INTO caudex_audit.log_2026_11 VALUES (36, 'core', 'roles', 'reader', 'ROLE_CREATED', NULL, '{"name": "reader", "app_id": "again", "inherits": [], "description": null, "permissions": ["contacts.read"]}', '2026-11-28 03:05:14.330021+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'f4f7ce5535f951ff7d591f72507acdab');
INSERT INTO caudex_audit.log_2026_11 VALUES (37, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "reader", "app_id": "again", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.333134+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'e7e82aac6b49caa926633fdaa91854ab');
INSERT INTO caudex_audit.log_2026_11 VALUES (38, 'core', 'secrets', 'again/TOKEN', 'SECRET_SET', NULL, '{"key": "TOKEN", "scope": "app", "app_id": "again"}', '2026-11-28 03:05:14.341526+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'b0f167f20bdb877194bdd129cf38764c');
INSERT INTO caudex_audit.log_2026_11 VALUES (44, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "swapped", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.362658+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '50e030aafcf73778a4c60deddb6522f8');
INSERT INTO caudex_audit.log_2026_11 VALUES (46, 'core', 'apps', 'swapped', 'APP_INSTALLED', NULL, '{"id": "swapped", "name": "SWAPPED", "version": "1.0.0"}', '2026-11-28 03:05:14.362658+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '50e030aafcf73778a4c60deddb6522f8');
INSERT INTO caudex_audit.log_2026_11 VALUES (47, 'core', 'role_assignments', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "swapped", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.380923+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '929fc2a5a85caa7f63baa2162ef1b741');
INSERT INTO caudex_audit.log_2026_11 VALUES (48, 'core', 'roles', 'reader', 'ROLE_CREATED', NULL, '{"name": "reader", "app_id": "swapped", "inherits": [], "description": null, "permissions": ["contacts.read"]}', '2026-11-28 03:05:14.384292+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'd7cc5d248b99ada6f199740370e292d1');
INSERT INTO caudex_audit.log_2026_11 VALUES (49, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "reader", "app_id": "swapped", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.386871+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'bebc227495480994d28be0a57096d9f7');
INSERT INTO caudex_audit.log_2026_11 VALUES (50, 'core', 'secrets', 'swapped/TOKEN', 'SECRET_SET', NULL, '{"key": "TOKEN", "scope": "app", "app_id": "swapped"}', '2026-11-28 03:05:14.389218+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '09b3b365d1c95762f62446361fb08a6a');
INSERT INTO caudex_audit.log_2026_11 VALUES (56, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "removed", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.404668+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '3be7ed797125da1d683f4f2a00e18c68');
INSERT INTO caudex_audit.log_2026_11 VALUES (58, 'core', 'apps', 'removed', 'APP_INSTALLED', NULL, '{"id": "removed", "name": "REMOVED", "version": "1.0.0"}', '2026-11-28 03:05:14.404668+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '3be7ed797125da1d683f4f2a00e18c68');
INSERT INTO caudex_audit.log_2026_11 VALUES (59, 'core', 'role_assignments', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "removed", "user_id": "ca9c5d45-42d3-4a35-bf27-309200f29f5b"}', '2026-11-28 03:05:14.432996+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'b0b08c31d755921b44e5285d4d1e5525');
INSERT INTO caudex_audit.log_2026_11 VALUES (60, 'core', 'roles', 'reader', 'ROLE_CREATED', NULL, '{"name": "reader", "app_id": "removed", "inherits": [], "description": null, "permissions": ["contacts.read"]}', '2026-11-28 03:05:14.436734+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '66d2bc5fe0ac568a9c2b59555863bf72');
INSERT INTO caudex_audit.log_2026_11 VALUES (61, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "reader", "app_id": "removed", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.440624+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '8b6513354ba940d7bfea8e16f39b2d57');
INSERT INTO caudex_audit.log_2026_11 VALUES (62, 'core', 'secrets', 'removed/TOKEN', 'SECRET_SET', NULL, '{"key": "TOKEN", "scope": "app", "app_id": "removed"}', '2026-11-28 03:05:14.445341+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '26b7b7b426ff246828dce846d3e4a18b');
INSERT INTO caudex_audit.log_2026_11 VALUES (68, 'core', 'secrets', 'SHARED', 'SECRET_SET', NULL, '{"key": "SHARED", "scope": "platform", "app_id": ""}', '2026-11-28 03:05:14.472162+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'd791a1b165472090e988bb380a89760c');
INSERT INTO caudex_audit.log_2026_11 VALUES (70, 'core', 'apps', 'crm', 'APP_UPDATED', NULL, '{"id": "crm", "name": "CRM", "version": "1.1.0"}', '2026-11-28 03:05:14.477254+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '3e750b15c01ae06c1a527bd889e8e8e7');
INSERT INTO caudex_audit.log_2026_11 VALUES (71, 'core', 'apps', 'again', 'APP_REMOVED', '{"id": "again", "name": "AGAIN", "version": "1.0.0"}', NULL, '2026-11-28 03:05:14.53071+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '72a1595a39b51fd0fd1729a4f37671a0');
INSERT INTO caudex_audit.log_2026_11 VALUES (72, 'core', 'role_assignments', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "again", "user_id": "4cd52ce6-736e-437e-9fbf-7aefecb82162"}', '2026-11-28 03:05:14.557781+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'cccdfce50f0eaa05025371ae91bd48e6');
INSERT INTO caudex_audit.log_2026_11 VALUES (74, 'core', 'apps', 'again', 'APP_INSTALLED', NULL, '{"id": "again", "name": "AGAIN", "version": "1.0.0"}', '2026-11-28 03:05:14.557781+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', 'cccdfce50f0eaa05025371ae91bd48e6');
INSERT INTO caudex_audit.log_2026_11 VALUES (75, 'core', 'role_assignments', 'be295e84-2719-489e-a38d-c481a313181a', 'ROLE_ASSIGNED', NULL, '{"role": "admin", "app_id": "again", "user_id": "be295e84-2719-489e-a38d-c481a313181a"}', '2026-11-28 03:05:14.588533+00', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '49c66ef4c4dfadcbfed590b3867cc968');
INSERT INTO caudex_audit.log_2026_11 VALUES (77, 'core', 'workers', 'crm', 'DEPLOYED', NULL, '{"size": 256, "app_id": "crm", "sha256": "61035fe72569711ca42a2e6734c8d2a23b049ffa8a8edddfb0f8f6bc82ebdca6", "version": 1}', '2026-11-28 03:05:15.049442+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'a7aa868d9397179233d7be017bc02292');
INSERT INTO caudex_audit.log_2026_11 VALUES (78, 'core', 'workers', 'crm', 'WORKER_STOPPED', NULL, '{"app_id": "crm"}', '2026-11-28 03:05:15.068428+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'a5b40314f3aa13f03bacfa8fc15c024a');
INSERT INTO caudex_auth.networks VALUES ('4cd52ce6-736e-437e-9fbf-7aefecb82162', '127.0.0.1', '2026-11-28 03:05:14.082636+00');
INSERT INTO caudex_auth.networks VALUES ('ca9c5d45-42d3-4a35-bf27-309200f29f5b', '127.0.0.1', '2026-11-28 03:05:14.107493+00');
INSERT INTO caudex_auth.networks VALUES ('be295e84-2719-489e-a38d-c481a313181a', '127.0.0.1', '2026-11-28 03:05:14.123215+00');
INSERT INTO caudex_auth.sessions VALUES ('dada1355-f0a0-4869-9c57-7bdc421ecad9', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.082636+00', '2026-11-28 03:05:14.082636+00', '2100-01-01 00:00:00+00', NULL, '127.0.0.1', 'python-httpx/0.28.1', NULL, '56ba1ab456049af70d0dcf69fa6dc0c45a0cfb7941135c82423e830784b49b0b', NULL, NULL);
INSERT INTO caudex_auth.sessions VALUES ('3f5f9089-61b9-40a1-8c6a-24348d06a231', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '2026-11-28 03:05:14.107493+00', '2026-11-28 03:05:14.107493+00', '2100-01-01 00:00:00+00', NULL, '127.0.0.1', 'python-httpx/0.28.1', NULL, 'd5831dcd90c5f944126d052ced55e41f11a57167ab9f5c405dbe2c6dc70e6548', NULL, NULL);
INSERT INTO caudex_auth.sessions VALUES ('afd2288c-c7d3-4af6-bfe7-5e3ccecf7b60', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.123215+00', '2026-11-28 03:05:14.123215+00', '2100-01-01 00:00:00+00', NULL, '127.0.0.1', 'python-httpx/0.28.1', NULL, '80f70b81e73646b7a4c16019a48a46e4c48291ac04534a37f59cd7d55fd53876', NULL, NULL);
INSERT INTO caudex_auth.users VALUES ('4cd52ce6-736e-437e-9fbf-7aefecb82162', 'admin', 'admin', NULL, NULL, NULL, '$argon2id$v=19$m=8,t=1,p=1$lMFipL4jQ9qt/BN8mVSAHg$NJrjXm8J08Ggk3leaE99Hv8nq17e0t33W1ldajbI2os', false, '2026-11-28 03:05:13.977398+00', '2026-11-28 03:05:13.977398+00', 0);
INSERT INTO caudex_auth.users VALUES ('ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'ada', 'ada', NULL, NULL, NULL, '$argon2id$v=19$m=8,t=1,p=1$xv1kMAOpf7csg5tTHcPXog$cdPWg6OMBsEUVF/qbruwCGp3Z+uxAtZbyTyj09pZB5s', false, '2026-11-28 03:05:14.101035+00', '2026-11-28 03:05:14.101035+00', 0);
INSERT INTO caudex_auth.users VALUES ('be295e84-2719-489e-a38d-c481a313181a', 'bob', 'bob', NULL, NULL, NULL, '$argon2id$v=19$m=8,t=1,p=1$x2HjTgDmbMPfWLM8LFPJAw$IqQ2omsQBUXxnbTlF7jxOXsKiIluH+/MjQp51OCCA2s', false, '2026-11-28 03:05:14.116058+00', '2026-11-28 03:05:14.116058+00', 0);
INSERT INTO caudex_cron.apps VALUES ('removed', 5, 5);
INSERT INTO caudex_cron.apps VALUES ('crm', 6, 1);
INSERT INTO caudex_cron.apps VALUES ('again', 7, 7);
INSERT INTO caudex_cron.apps VALUES ('early', 2, 0);
INSERT INTO caudex_cron.apps VALUES ('swapped', 4, 1);
INSERT INTO caudex_cron.crons VALUES ('752bc08f-6919-4ad1-b057-29d071acaadc', 'early', 'nightly', 0, '0 3 * * *', 'UTC', 'skip', '{}', true, true, '2026-11-29 03:00:00+00', NULL);
INSERT INTO caudex_cron.crons VALUES ('45eb7499-fa25-4d57-82ea-b2753ce5f14e', 'swapped', 'nightly', 0, '0 3 * * *', 'UTC', 'skip', '{}', true, true, '2026-11-29 03:00:00+00', NULL);
INSERT INTO caudex_cron.crons VALUES ('09010957-f53c-4c4e-91fd-756a55b3420a', 'removed', 'nightly', 0, '0 3 * * *', 'UTC', 'skip', '{}', true, true, '2026-11-29 03:00:00+00', NULL);
INSERT INTO caudex_cron.crons VALUES ('b045e9e1-c399-472e-8705-d36a08ff39e0', 'crm', 'nightly', 0, '0 3 * * *', 'UTC', 'skip', '{}', true, true, '2026-11-29 03:00:00+00', NULL);
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-32cc-7070-aff4-b5d5ec02bcd8', 'crm', 'pending', false, false, 0, 0, 0, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2027-11-27 03:05:14.187381+00', '2026-11-28 03:05:14.188224+00', '2026-11-28 03:05:14.188224+00', NULL, NULL, NULL, NULL, NULL, '{"of":"crm"}', NULL, NULL, NULL, '');
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-3307-7222-8823-b7085187a855', 'early', 'pending', false, false, 0, 0, 0, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2027-11-27 03:05:14.246536+00', '2026-11-28 03:05:14.247317+00', '2026-11-28 03:05:14.247317+00', NULL, NULL, NULL, NULL, NULL, '{"of":"early"}', NULL, NULL, NULL, '');
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-3397-7d90-8a7d-fdf87fae1bcc', 'swapped', 'pending', false, false, 0, 0, 0, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2027-11-27 03:05:14.39132+00', '2026-11-28 03:05:14.392007+00', '2026-11-28 03:05:14.392007+00', NULL, NULL, NULL, NULL, NULL, '{"of":"swapped"}', NULL, NULL, NULL, '');
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-33d2-730f-861e-85dcaa283451', 'removed', 'pending', false, false, 0, 0, 0, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2027-11-27 03:05:14.448584+00', '2026-11-28 03:05:14.451187+00', '2026-11-28 03:05:14.451187+00', NULL, NULL, NULL, NULL, NULL, '{"of":"removed"}', NULL, NULL, NULL, '');
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-3639-7ef1-8df0-11a8d2048246', 'crm', 'failed', false, false, 0, 1, 1, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2026-11-28 03:05:15.06611+00', '2026-11-28 03:05:15.06611+00', '2026-11-28 03:05:15.072104+00', NULL, '2026-11-28 03:05:15.072104+00', NULL, NULL, 'no handler takes this job', '1', NULL, NULL, '2026-12-06 03:00:00+00', '');
INSERT INTO caudex_jobs.jobs VALUES ('01a2201d-3653-72e9-b3b4-433c08ed1973', 'crm', 'pending', true, false, 0, 0, 0, 0, 0, 1, 900, 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', NULL, '2026-11-28 03:05:15.091331+00', '2026-11-28 03:05:15.091331+00', '2026-11-28 03:05:15.091331+00', NULL, NULL, NULL, NULL, NULL, '{"now":true}', NULL, NULL, NULL, '');
INSERT INTO caudex_jobs.lives VALUES ('crm', 1);
INSERT INTO caudex_jobs.lives VALUES ('removed', 5);
INSERT INTO caudex_jobs.lives VALUES ('again', 7);
INSERT INTO caudex_jobs.lives VALUES ('early', 0);
INSERT INTO caudex_jobs.lives VALUES ('swapped', 1);
INSERT INTO caudex_jobs.turns VALUES ('expire');
INSERT INTO caudex_jobs.turns VALUES ('prune');
INSERT INTO caudex_kernel.channel VALUES ('caudex_eef8a625-be3d-4db4-8fa5-182418115046');
INSERT INTO caudex_kernel.keys VALUES ('signing', '11ae7c422b36e97866ed9950be930bbc');
INSERT INTO caudex_kernel.migrations VALUES ('auth', '0001_accounts.sql', '5ed9e083ea5b44c48b164e0fc878408c67dd1d0fb346bf5b9d9c10be36d34122', '2026-11-28 03:05:13.232989+00');
INSERT INTO caudex_kernel.migrations VALUES ('auth', '0002_names.sql', 'fbe549cafca97a101efb873636b73e32f12563914427345696de5b526bed0f16', '2026-11-28 03:05:13.249844+00');
INSERT INTO caudex_kernel.migrations VALUES ('auth', '0003_mandates.sql', '38b8add09cbb43e0f67630ffac0a557f175ae5fd5f334893a51c58e8ce1b757a', '2026-11-28 03:05:13.256447+00');
INSERT INTO caudex_kernel.migrations VALUES ('auth', '0004_networks.sql', 'acef6543558fbb2c1729f70ba2e6be6a4505a51fe92242800323ecb0ef3351e7', '2026-11-28 03:05:13.258669+00');
INSERT INTO caudex_kernel.migrations VALUES ('rbac', '0001_rbac.sql', '13aa73d6af972a8563a9a010e4d25d799984ed3a386993049423afe31d416fb9', '2026-11-28 03:05:13.266514+00');
INSERT INTO caudex_kernel.migrations VALUES ('rbac', '0002_turns.sql', 'a001b5efe6f767704135565f4e9a6093f9e7b0702b2704068f21f28e44783a4b', '2026-11-28 03:05:13.273332+00');
INSERT INTO caudex_kernel.migrations VALUES ('rbac', '0003_births.sql', 'ca1ddeddb8b3aa20f28bc0e62d0acf6fef5be3b8954c72cbb91ecb0d59819de3', '2026-11-28 03:05:13.277182+00');
INSERT INTO caudex_kernel.migrations VALUES ('apps', '0001_apps.sql', '875d9696ec68b77791ae9be9d271f806cc1993a58478db196df908c57d405090', '2026-11-28 03:05:13.281413+00');
INSERT INTO caudex_kernel.migrations VALUES ('apps', '0002_conversions.sql', 'af00200e43888fb41ea165263a86849d2cfb0e6a3e5d11169613927465b82549', '2026-11-28 03:05:13.290535+00');
INSERT INTO caudex_kernel.migrations VALUES ('apps', '0003_turns.sql', 'f7ab7f5c11614580781209b8ae5383768eee1166c0b2cf097d03087d13554b83', '2026-11-28 03:05:13.296574+00');
INSERT INTO caudex_kernel.migrations VALUES ('apps', '0004_births.sql', 'cb57634cef1238a17c47fdbedede6c8fb62c484dc7e0d750756971132364d54b', '2026-11-28 03:05:13.300364+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0001_log.sql', '237f60f5f5f21cf146747c99b7e937bb0e91776db8caaef6b38fdd9cb0f1a3b5', '2026-11-28 03:05:13.307518+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0002_lives.sql', '23754f244fd048207891a39cc3ea2024534c1ca85efd6e63bfcdf9c8f71770cd', '2026-11-28 03:05:13.326108+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0003_turns.sql', 'e898d6752e12fb0297097f3beee516d6cfac79f36a2617e3e62dd2274436c25d', '2026-11-28 03:05:13.329064+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0004_paths.sql', 'a26a9f9467da1b9fe51002138ba4003366bd8c8c1301026d7c6de6186964a863', '2026-11-28 03:05:13.331303+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0005_births.sql', 'fdaa34a796c9ca8881296c316d66a0a1377675a7588f0502f05f23cd69a378f6', '2026-11-28 03:05:13.333084+00');
INSERT INTO caudex_kernel.migrations VALUES ('audit', '0006_unchanged.sql', '423333f37907b99b587edd7a6fd9da30a41b34bc64e736b1354b30dd848bb31a', '2026-11-28 03:05:13.338433+00');
INSERT INTO caudex_kernel.migrations VALUES ('logs', '0001_logs.sql', 'e1a79b270e8637f6e0e65e5f5ee4aa362097d86b1af1d776b61d8eba82666049', '2026-11-28 03:05:13.340333+00');
INSERT INTO caudex_kernel.migrations VALUES ('logs', '0002_turns.sql', '1cbb18db887ad169b9f9082d45f4554dd1cdcd7204902d30c52b63a3b7c16093', '2026-11-28 03:05:13.344947+00');
INSERT INTO caudex_kernel.migrations VALUES ('logs', '0003_lives.sql', 'e9a321bb2db7d482f56d6d3a9c1d1268a788463705e5c6c2446ad0bc0b7d36d7', '2026-11-28 03:05:13.347453+00');
INSERT INTO caudex_kernel.migrations VALUES ('oidc', '0001_links.sql', '51e21f16d7609b1af7cb9e7eedfcb394e6df0194e98a369f8775fe40206511f3', '2026-11-28 03:05:13.353543+00');
INSERT INTO caudex_kernel.migrations VALUES ('vault', '0001_vault.sql', 'f47b371305463e74040b2b496a733f6025dacabaae97291f922a20cb52e1a214', '2026-11-28 03:05:13.357738+00');
INSERT INTO caudex_kernel.migrations VALUES ('vault', '0002_lives.sql', 'b6f2ba8c7c6c6cf6eca24e4fd08845db5d2e542ea9760b777a0cd044faebaa04', '2026-11-28 03:05:13.362119+00');
INSERT INTO caudex_kernel.migrations VALUES ('vault_file', '0001_folder.sql', '51f510309121e44e25827d20bc8b2ea1cd6aff7b8f566679a662d425f1eaee3e', '2026-11-28 03:05:13.365001+00');
INSERT INTO caudex_kernel.migrations VALUES ('vault_file', '0002_lives.sql', 'd146fec2ebb160243fa12355daf293f6baf9e106a6348a49866d297e9944e1b9', '2026-11-28 03:05:13.370055+00');
INSERT INTO caudex_kernel.migrations VALUES ('workers', '0001_workers.sql', 'f236eb5614efee08ade74cde7b69deae7358e911b64f73eaad646ad876e2e957', '2026-11-28 03:05:13.37249+00');
INSERT INTO caudex_kernel.migrations VALUES ('workers', '0002_births.sql', 'e4ab22b0afa28f9e22917a23608af31e1eb5d5623eb0600e084111f244681f82', '2026-11-28 03:05:13.382603+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0001_jobs.sql', '2552cbdb4bdca221117acaf1afdd5c132e63f1e649ff05957ddc98619107442d', '2026-11-28 03:05:13.384901+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0002_functions.sql', '9f2220ec1a9330c42b2200b7ea2c28f1540e9b75447f2d12abeccfb018e53335', '2026-11-28 03:05:13.38936+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0003_by_token.sql', 'b3c8d88c3c01b627089d53c34c4fe4f52b661a33a98fb6fce8ba8b87229baf34', '2026-11-28 03:05:13.393194+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0004_turns.sql', 'cda229e9f8ca837faab695cc3912b36b29ffafd8ab71906c6c6b59ecb2605213', '2026-11-28 03:05:13.395172+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0005_room.sql', '646e18e6d3023013bb4d27e8af8151bab44a028eb783193c989bcc5ebd36f006', '2026-11-28 03:05:13.400718+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0006_lives.sql', '17424d8402c56ca3da2622c6adca678435adbfb23bec8a20d7c62e0b65cd2e09', '2026-11-28 03:05:13.402575+00');
INSERT INTO caudex_kernel.migrations VALUES ('jobs', '0007_mandates.sql', '4c4d1a288bf3f79a43ed346101b89eac4ec6d62f65b1c1f73933f7cc8784c9fc', '2026-11-28 03:05:13.405402+00');
INSERT INTO caudex_kernel.migrations VALUES ('cron', '0001_crons.sql', 'a172520771db7d28e49909f75daf919b60bc3b04e9a6dcf9b06f3b8c4afa35b6', '2026-11-28 03:05:13.409379+00');
INSERT INTO caudex_kernel.migrations VALUES ('cron', '0002_births.sql', '83812033dcdf98af3b6aa25b7650ac9229e872d83c91764d5e26f4b523154d45', '2026-11-28 03:05:13.426208+00');
INSERT INTO caudex_kernel.revisions VALUES ('secrets', 6);
INSERT INTO caudex_kernel.revisions VALUES ('apps', 8);
INSERT INTO caudex_kernel.revisions VALUES ('cron', 7);
INSERT INTO caudex_kernel.revisions VALUES ('rbac', 31);
INSERT INTO caudex_kernel.revisions VALUES ('workers', 2);
INSERT INTO caudex_kernel.revisions VALUES ('logs', 7);
INSERT INTO caudex_kernel.revisions VALUES ('jobs', 3);
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (1, 'crm', 'info', 'a line of crm', '2026-11-28 03:05:14.201953+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (2, 'early', 'info', 'a line of early', '2026-11-28 03:05:14.263162+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (4, 'swapped', 'info', 'a line of swapped', '2026-11-28 03:05:14.403154+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (5, 'removed', 'info', 'a line of removed', '2026-11-28 03:05:14.471136+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (6, 'crm', 'system', 'deploying version 1', '2026-11-28 03:05:14.616904+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (7, 'crm', 'stdout', 'a line of the worker', '2026-11-28 03:05:15.048262+00');
INSERT INTO caudex_logs.lines OVERRIDING SYSTEM VALUE VALUES (8, 'crm', 'system', 'version 1 runs', '2026-11-28 03:05:15.04918+00');
INSERT INTO caudex_logs.lives VALUES ('crm', 1);
INSERT INTO caudex_logs.lives VALUES ('removed', 5);
INSERT INTO caudex_logs.lives VALUES ('again', 7);
INSERT INTO caudex_logs.lives VALUES ('early', 0);
INSERT INTO caudex_logs.lives VALUES ('swapped', 1);
INSERT INTO caudex_logs.turns VALUES (-1);
INSERT INTO caudex_logs.turns VALUES (0);
INSERT INTO caudex_logs.turns VALUES (1);
INSERT INTO caudex_logs.turns VALUES (2);
INSERT INTO caudex_logs.turns VALUES (3);
INSERT INTO caudex_logs.turns VALUES (4);
INSERT INTO caudex_logs.turns VALUES (5);
INSERT INTO caudex_logs.turns VALUES (6);
INSERT INTO caudex_logs.turns VALUES (7);
INSERT INTO caudex_logs.turns VALUES (8);
INSERT INTO caudex_logs.turns VALUES (9);
INSERT INTO caudex_logs.turns VALUES (10);
INSERT INTO caudex_logs.turns VALUES (11);
INSERT INTO caudex_logs.turns VALUES (12);
INSERT INTO caudex_logs.turns VALUES (13);
INSERT INTO caudex_logs.turns VALUES (14);
INSERT INTO caudex_logs.turns VALUES (15);
INSERT INTO caudex_logs.turns VALUES (16);
INSERT INTO caudex_logs.turns VALUES (17);
INSERT INTO caudex_logs.turns VALUES (18);
INSERT INTO caudex_logs.turns VALUES (19);
INSERT INTO caudex_logs.turns VALUES (20);
INSERT INTO caudex_logs.turns VALUES (21);
INSERT INTO caudex_logs.turns VALUES (22);
INSERT INTO caudex_logs.turns VALUES (23);
INSERT INTO caudex_logs.turns VALUES (24);
INSERT INTO caudex_logs.turns VALUES (25);
INSERT INTO caudex_logs.turns VALUES (26);
INSERT INTO caudex_logs.turns VALUES (27);
INSERT INTO caudex_logs.turns VALUES (28);
INSERT INTO caudex_logs.turns VALUES (29);
INSERT INTO caudex_logs.turns VALUES (30);
INSERT INTO caudex_logs.turns VALUES (31);
INSERT INTO caudex_logs.turns VALUES (32);
INSERT INTO caudex_logs.turns VALUES (33);
INSERT INTO caudex_logs.turns VALUES (34);
INSERT INTO caudex_logs.turns VALUES (35);
INSERT INTO caudex_logs.turns VALUES (36);
INSERT INTO caudex_logs.turns VALUES (37);
INSERT INTO caudex_logs.turns VALUES (38);
INSERT INTO caudex_logs.turns VALUES (39);
INSERT INTO caudex_logs.turns VALUES (40);
INSERT INTO caudex_logs.turns VALUES (41);
INSERT INTO caudex_logs.turns VALUES (42);
INSERT INTO caudex_logs.turns VALUES (43);
INSERT INTO caudex_logs.turns VALUES (44);
INSERT INTO caudex_logs.turns VALUES (45);
INSERT INTO caudex_logs.turns VALUES (46);
INSERT INTO caudex_logs.turns VALUES (47);
INSERT INTO caudex_logs.turns VALUES (48);
INSERT INTO caudex_logs.turns VALUES (49);
INSERT INTO caudex_logs.turns VALUES (50);
INSERT INTO caudex_logs.turns VALUES (51);
INSERT INTO caudex_logs.turns VALUES (52);
INSERT INTO caudex_logs.turns VALUES (53);
INSERT INTO caudex_logs.turns VALUES (54);
INSERT INTO caudex_logs.turns VALUES (55);
INSERT INTO caudex_logs.turns VALUES (56);
INSERT INTO caudex_logs.turns VALUES (57);
INSERT INTO caudex_logs.turns VALUES (58);
INSERT INTO caudex_logs.turns VALUES (59);
INSERT INTO caudex_logs.turns VALUES (60);
INSERT INTO caudex_logs.turns VALUES (61);
INSERT INTO caudex_logs.turns VALUES (62);
INSERT INTO caudex_logs.turns VALUES (63);
INSERT INTO caudex_logs.turns VALUES (64);
INSERT INTO caudex_logs.turns VALUES (65);
INSERT INTO caudex_logs.turns VALUES (66);
INSERT INTO caudex_logs.turns VALUES (67);
INSERT INTO caudex_logs.turns VALUES (68);
INSERT INTO caudex_logs.turns VALUES (69);
INSERT INTO caudex_logs.turns VALUES (70);
INSERT INTO caudex_logs.turns VALUES (71);
INSERT INTO caudex_logs.turns VALUES (72);
INSERT INTO caudex_logs.turns VALUES (73);
INSERT INTO caudex_logs.turns VALUES (74);
INSERT INTO caudex_logs.turns VALUES (75);
INSERT INTO caudex_logs.turns VALUES (76);
INSERT INTO caudex_logs.turns VALUES (77);
INSERT INTO caudex_logs.turns VALUES (78);
INSERT INTO caudex_logs.turns VALUES (79);
INSERT INTO caudex_logs.turns VALUES (80);
INSERT INTO caudex_logs.turns VALUES (81);
INSERT INTO caudex_logs.turns VALUES (82);
INSERT INTO caudex_logs.turns VALUES (83);
INSERT INTO caudex_logs.turns VALUES (84);
INSERT INTO caudex_logs.turns VALUES (85);
INSERT INTO caudex_logs.turns VALUES (86);
INSERT INTO caudex_logs.turns VALUES (87);
INSERT INTO caudex_logs.turns VALUES (88);
INSERT INTO caudex_logs.turns VALUES (89);
INSERT INTO caudex_logs.turns VALUES (90);
INSERT INTO caudex_logs.turns VALUES (91);
INSERT INTO caudex_logs.turns VALUES (92);
INSERT INTO caudex_logs.turns VALUES (93);
INSERT INTO caudex_logs.turns VALUES (94);
INSERT INTO caudex_logs.turns VALUES (95);
INSERT INTO caudex_logs.turns VALUES (96);
INSERT INTO caudex_logs.turns VALUES (97);
INSERT INTO caudex_logs.turns VALUES (98);
INSERT INTO caudex_logs.turns VALUES (99);
INSERT INTO caudex_logs.turns VALUES (100);
INSERT INTO caudex_logs.turns VALUES (101);
INSERT INTO caudex_logs.turns VALUES (102);
INSERT INTO caudex_logs.turns VALUES (103);
INSERT INTO caudex_logs.turns VALUES (104);
INSERT INTO caudex_logs.turns VALUES (105);
INSERT INTO caudex_logs.turns VALUES (106);
INSERT INTO caudex_logs.turns VALUES (107);
INSERT INTO caudex_logs.turns VALUES (108);
INSERT INTO caudex_logs.turns VALUES (109);
INSERT INTO caudex_logs.turns VALUES (110);
INSERT INTO caudex_logs.turns VALUES (111);
INSERT INTO caudex_logs.turns VALUES (112);
INSERT INTO caudex_logs.turns VALUES (113);
INSERT INTO caudex_logs.turns VALUES (114);
INSERT INTO caudex_logs.turns VALUES (115);
INSERT INTO caudex_logs.turns VALUES (116);
INSERT INTO caudex_logs.turns VALUES (117);
INSERT INTO caudex_logs.turns VALUES (118);
INSERT INTO caudex_logs.turns VALUES (119);
INSERT INTO caudex_logs.turns VALUES (120);
INSERT INTO caudex_logs.turns VALUES (121);
INSERT INTO caudex_logs.turns VALUES (122);
INSERT INTO caudex_logs.turns VALUES (123);
INSERT INTO caudex_logs.turns VALUES (124);
INSERT INTO caudex_logs.turns VALUES (125);
INSERT INTO caudex_logs.turns VALUES (126);
INSERT INTO caudex_logs.turns VALUES (127);
INSERT INTO caudex_logs.turns VALUES (128);
INSERT INTO caudex_logs.turns VALUES (129);
INSERT INTO caudex_logs.turns VALUES (130);
INSERT INTO caudex_logs.turns VALUES (131);
INSERT INTO caudex_logs.turns VALUES (132);
INSERT INTO caudex_logs.turns VALUES (133);
INSERT INTO caudex_logs.turns VALUES (134);
INSERT INTO caudex_logs.turns VALUES (135);
INSERT INTO caudex_logs.turns VALUES (136);
INSERT INTO caudex_logs.turns VALUES (137);
INSERT INTO caudex_logs.turns VALUES (138);
INSERT INTO caudex_logs.turns VALUES (139);
INSERT INTO caudex_logs.turns VALUES (140);
INSERT INTO caudex_logs.turns VALUES (141);
INSERT INTO caudex_logs.turns VALUES (142);
INSERT INTO caudex_logs.turns VALUES (143);
INSERT INTO caudex_logs.turns VALUES (144);
INSERT INTO caudex_logs.turns VALUES (145);
INSERT INTO caudex_logs.turns VALUES (146);
INSERT INTO caudex_logs.turns VALUES (147);
INSERT INTO caudex_logs.turns VALUES (148);
INSERT INTO caudex_logs.turns VALUES (149);
INSERT INTO caudex_logs.turns VALUES (150);
INSERT INTO caudex_logs.turns VALUES (151);
INSERT INTO caudex_logs.turns VALUES (152);
INSERT INTO caudex_logs.turns VALUES (153);
INSERT INTO caudex_logs.turns VALUES (154);
INSERT INTO caudex_logs.turns VALUES (155);
INSERT INTO caudex_logs.turns VALUES (156);
INSERT INTO caudex_logs.turns VALUES (157);
INSERT INTO caudex_logs.turns VALUES (158);
INSERT INTO caudex_logs.turns VALUES (159);
INSERT INTO caudex_logs.turns VALUES (160);
INSERT INTO caudex_logs.turns VALUES (161);
INSERT INTO caudex_logs.turns VALUES (162);
INSERT INTO caudex_logs.turns VALUES (163);
INSERT INTO caudex_logs.turns VALUES (164);
INSERT INTO caudex_logs.turns VALUES (165);
INSERT INTO caudex_logs.turns VALUES (166);
INSERT INTO caudex_logs.turns VALUES (167);
INSERT INTO caudex_logs.turns VALUES (168);
INSERT INTO caudex_logs.turns VALUES (169);
INSERT INTO caudex_logs.turns VALUES (170);
INSERT INTO caudex_logs.turns VALUES (171);
INSERT INTO caudex_logs.turns VALUES (172);
INSERT INTO caudex_logs.turns VALUES (173);
INSERT INTO caudex_logs.turns VALUES (174);
INSERT INTO caudex_logs.turns VALUES (175);
INSERT INTO caudex_logs.turns VALUES (176);
INSERT INTO caudex_logs.turns VALUES (177);
INSERT INTO caudex_logs.turns VALUES (178);
INSERT INTO caudex_logs.turns VALUES (179);
INSERT INTO caudex_logs.turns VALUES (180);
INSERT INTO caudex_logs.turns VALUES (181);
INSERT INTO caudex_logs.turns VALUES (182);
INSERT INTO caudex_logs.turns VALUES (183);
INSERT INTO caudex_logs.turns VALUES (184);
INSERT INTO caudex_logs.turns VALUES (185);
INSERT INTO caudex_logs.turns VALUES (186);
INSERT INTO caudex_logs.turns VALUES (187);
INSERT INTO caudex_logs.turns VALUES (188);
INSERT INTO caudex_logs.turns VALUES (189);
INSERT INTO caudex_logs.turns VALUES (190);
INSERT INTO caudex_logs.turns VALUES (191);
INSERT INTO caudex_logs.turns VALUES (192);
INSERT INTO caudex_logs.turns VALUES (193);
INSERT INTO caudex_logs.turns VALUES (194);
INSERT INTO caudex_logs.turns VALUES (195);
INSERT INTO caudex_logs.turns VALUES (196);
INSERT INTO caudex_logs.turns VALUES (197);
INSERT INTO caudex_logs.turns VALUES (198);
INSERT INTO caudex_logs.turns VALUES (199);
INSERT INTO caudex_logs.turns VALUES (200);
INSERT INTO caudex_logs.turns VALUES (201);
INSERT INTO caudex_logs.turns VALUES (202);
INSERT INTO caudex_logs.turns VALUES (203);
INSERT INTO caudex_logs.turns VALUES (204);
INSERT INTO caudex_logs.turns VALUES (205);
INSERT INTO caudex_logs.turns VALUES (206);
INSERT INTO caudex_logs.turns VALUES (207);
INSERT INTO caudex_logs.turns VALUES (208);
INSERT INTO caudex_logs.turns VALUES (209);
INSERT INTO caudex_logs.turns VALUES (210);
INSERT INTO caudex_logs.turns VALUES (211);
INSERT INTO caudex_logs.turns VALUES (212);
INSERT INTO caudex_logs.turns VALUES (213);
INSERT INTO caudex_logs.turns VALUES (214);
INSERT INTO caudex_logs.turns VALUES (215);
INSERT INTO caudex_logs.turns VALUES (216);
INSERT INTO caudex_logs.turns VALUES (217);
INSERT INTO caudex_logs.turns VALUES (218);
INSERT INTO caudex_logs.turns VALUES (219);
INSERT INTO caudex_logs.turns VALUES (220);
INSERT INTO caudex_logs.turns VALUES (221);
INSERT INTO caudex_logs.turns VALUES (222);
INSERT INTO caudex_logs.turns VALUES (223);
INSERT INTO caudex_logs.turns VALUES (224);
INSERT INTO caudex_logs.turns VALUES (225);
INSERT INTO caudex_logs.turns VALUES (226);
INSERT INTO caudex_logs.turns VALUES (227);
INSERT INTO caudex_logs.turns VALUES (228);
INSERT INTO caudex_logs.turns VALUES (229);
INSERT INTO caudex_logs.turns VALUES (230);
INSERT INTO caudex_logs.turns VALUES (231);
INSERT INTO caudex_logs.turns VALUES (232);
INSERT INTO caudex_logs.turns VALUES (233);
INSERT INTO caudex_logs.turns VALUES (234);
INSERT INTO caudex_logs.turns VALUES (235);
INSERT INTO caudex_logs.turns VALUES (236);
INSERT INTO caudex_logs.turns VALUES (237);
INSERT INTO caudex_logs.turns VALUES (238);
INSERT INTO caudex_logs.turns VALUES (239);
INSERT INTO caudex_logs.turns VALUES (240);
INSERT INTO caudex_logs.turns VALUES (241);
INSERT INTO caudex_logs.turns VALUES (242);
INSERT INTO caudex_logs.turns VALUES (243);
INSERT INTO caudex_logs.turns VALUES (244);
INSERT INTO caudex_logs.turns VALUES (245);
INSERT INTO caudex_logs.turns VALUES (246);
INSERT INTO caudex_logs.turns VALUES (247);
INSERT INTO caudex_logs.turns VALUES (248);
INSERT INTO caudex_logs.turns VALUES (249);
INSERT INTO caudex_logs.turns VALUES (250);
INSERT INTO caudex_logs.turns VALUES (251);
INSERT INTO caudex_logs.turns VALUES (252);
INSERT INTO caudex_logs.turns VALUES (253);
INSERT INTO caudex_logs.turns VALUES (254);
INSERT INTO caudex_logs.turns VALUES (255);
INSERT INTO caudex_rbac.apps VALUES ('core', '{}', '[]', 0);
INSERT INTO caudex_rbac.apps VALUES ('removed', '{contacts,deals}', '[{"key": "contacts.create", "description": "Create contacts"}, {"key": "contacts.read", "description": "Read contacts"}, {"key": "contacts.update", "description": "Update contacts"}, {"key": "contacts.delete", "description": "Delete contacts"}, {"key": "deals.create", "description": "Create deals"}, {"key": "deals.read", "description": "Read deals"}, {"key": "deals.update", "description": "Update deals"}, {"key": "deals.delete", "description": "Delete deals"}]', 5);
INSERT INTO caudex_rbac.apps VALUES ('crm', '{contacts,deals}', '[{"key": "contacts.create", "description": "Create contacts"}, {"key": "contacts.read", "description": "Read contacts"}, {"key": "contacts.update", "description": "Update contacts"}, {"key": "contacts.delete", "description": "Delete contacts"}, {"key": "deals.create", "description": "Create deals"}, {"key": "deals.read", "description": "Read deals"}, {"key": "deals.update", "description": "Update deals"}, {"key": "deals.delete", "description": "Delete deals"}]', 1);
INSERT INTO caudex_rbac.apps VALUES ('again', '{contacts,deals}', '[{"key": "contacts.create", "description": "Create contacts"}, {"key": "contacts.read", "description": "Read contacts"}, {"key": "contacts.update", "description": "Update contacts"}, {"key": "contacts.delete", "description": "Delete contacts"}, {"key": "deals.create", "description": "Create deals"}, {"key": "deals.read", "description": "Read deals"}, {"key": "deals.update", "description": "Update deals"}, {"key": "deals.delete", "description": "Delete deals"}]', 7);
INSERT INTO caudex_rbac.apps VALUES ('early', '{contacts,deals}', '[{"key": "contacts.create", "description": "Create contacts"}, {"key": "contacts.read", "description": "Read contacts"}, {"key": "contacts.update", "description": "Update contacts"}, {"key": "contacts.delete", "description": "Delete contacts"}, {"key": "deals.create", "description": "Create deals"}, {"key": "deals.read", "description": "Read deals"}, {"key": "deals.update", "description": "Update deals"}, {"key": "deals.delete", "description": "Delete deals"}]', 0);
INSERT INTO caudex_rbac.apps VALUES ('swapped', '{contacts,deals}', '[{"key": "contacts.create", "description": "Create contacts"}, {"key": "contacts.read", "description": "Read contacts"}, {"key": "contacts.update", "description": "Update contacts"}, {"key": "contacts.delete", "description": "Delete contacts"}, {"key": "deals.create", "description": "Create deals"}, {"key": "deals.read", "description": "Read deals"}, {"key": "deals.update", "description": "Update deals"}, {"key": "deals.delete", "description": "Delete deals"}]', 1);
INSERT INTO caudex_rbac.assignments VALUES ('core', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:13.977398+00');
INSERT INTO caudex_rbac.assignments VALUES ('crm', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.135893+00');
INSERT INTO caudex_rbac.assignments VALUES ('crm', 'admin', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '2026-11-28 03:05:14.170496+00');
INSERT INTO caudex_rbac.assignments VALUES ('crm', 'reader', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.178826+00');
INSERT INTO caudex_rbac.assignments VALUES ('early', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.20369+00');
INSERT INTO caudex_rbac.assignments VALUES ('early', 'admin', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '2026-11-28 03:05:14.230977+00');
INSERT INTO caudex_rbac.assignments VALUES ('early', 'reader', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.23706+00');
INSERT INTO caudex_rbac.assignments VALUES ('swapped', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.362658+00');
INSERT INTO caudex_rbac.assignments VALUES ('swapped', 'admin', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '2026-11-28 03:05:14.380923+00');
INSERT INTO caudex_rbac.assignments VALUES ('swapped', 'reader', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.386871+00');
INSERT INTO caudex_rbac.assignments VALUES ('removed', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.404668+00');
INSERT INTO caudex_rbac.assignments VALUES ('removed', 'admin', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', '2026-11-28 03:05:14.432996+00');
INSERT INTO caudex_rbac.assignments VALUES ('removed', 'reader', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.440624+00');
INSERT INTO caudex_rbac.assignments VALUES ('again', 'admin', '4cd52ce6-736e-437e-9fbf-7aefecb82162', '2026-11-28 03:05:14.557781+00');
INSERT INTO caudex_rbac.assignments VALUES ('again', 'admin', 'be295e84-2719-489e-a38d-c481a313181a', '2026-11-28 03:05:14.588533+00');
INSERT INTO caudex_rbac.roles VALUES ('core', 'admin', 'Administers the server and every app', '{}', '{*}');
INSERT INTO caudex_rbac.roles VALUES ('crm', 'admin', 'Everything on this app', '{}', '{*}');
INSERT INTO caudex_rbac.roles VALUES ('crm', 'reader', NULL, '{}', '{contacts.read}');
INSERT INTO caudex_rbac.roles VALUES ('early', 'admin', 'Everything on this app', '{}', '{*}');
INSERT INTO caudex_rbac.roles VALUES ('early', 'reader', NULL, '{}', '{contacts.read}');
INSERT INTO caudex_rbac.roles VALUES ('swapped', 'admin', 'Everything on this app', '{}', '{*}');
INSERT INTO caudex_rbac.roles VALUES ('swapped', 'reader', NULL, '{}', '{contacts.read}');
INSERT INTO caudex_rbac.roles VALUES ('removed', 'admin', 'Everything on this app', '{}', '{*}');
INSERT INTO caudex_rbac.roles VALUES ('removed', 'reader', NULL, '{}', '{contacts.read}');
INSERT INTO caudex_rbac.roles VALUES ('again', 'admin', 'Everything on this app', '{}', '{*}');
INSERT INTO caudex_rbac.turns VALUES (0);
INSERT INTO caudex_rbac.turns VALUES (1);
INSERT INTO caudex_rbac.turns VALUES (2);
INSERT INTO caudex_rbac.turns VALUES (3);
INSERT INTO caudex_rbac.turns VALUES (4);
INSERT INTO caudex_rbac.turns VALUES (5);
INSERT INTO caudex_rbac.turns VALUES (6);
INSERT INTO caudex_rbac.turns VALUES (7);
INSERT INTO caudex_rbac.turns VALUES (8);
INSERT INTO caudex_rbac.turns VALUES (9);
INSERT INTO caudex_rbac.turns VALUES (10);
INSERT INTO caudex_rbac.turns VALUES (11);
INSERT INTO caudex_rbac.turns VALUES (12);
INSERT INTO caudex_rbac.turns VALUES (13);
INSERT INTO caudex_rbac.turns VALUES (14);
INSERT INTO caudex_rbac.turns VALUES (15);
INSERT INTO caudex_rbac.turns VALUES (16);
INSERT INTO caudex_rbac.turns VALUES (17);
INSERT INTO caudex_rbac.turns VALUES (18);
INSERT INTO caudex_rbac.turns VALUES (19);
INSERT INTO caudex_rbac.turns VALUES (20);
INSERT INTO caudex_rbac.turns VALUES (21);
INSERT INTO caudex_rbac.turns VALUES (22);
INSERT INTO caudex_rbac.turns VALUES (23);
INSERT INTO caudex_rbac.turns VALUES (24);
INSERT INTO caudex_rbac.turns VALUES (25);
INSERT INTO caudex_rbac.turns VALUES (26);
INSERT INTO caudex_rbac.turns VALUES (27);
INSERT INTO caudex_rbac.turns VALUES (28);
INSERT INTO caudex_rbac.turns VALUES (29);
INSERT INTO caudex_rbac.turns VALUES (30);
INSERT INTO caudex_rbac.turns VALUES (31);
INSERT INTO caudex_rbac.turns VALUES (32);
INSERT INTO caudex_rbac.turns VALUES (33);
INSERT INTO caudex_rbac.turns VALUES (34);
INSERT INTO caudex_rbac.turns VALUES (35);
INSERT INTO caudex_rbac.turns VALUES (36);
INSERT INTO caudex_rbac.turns VALUES (37);
INSERT INTO caudex_rbac.turns VALUES (38);
INSERT INTO caudex_rbac.turns VALUES (39);
INSERT INTO caudex_rbac.turns VALUES (40);
INSERT INTO caudex_rbac.turns VALUES (41);
INSERT INTO caudex_rbac.turns VALUES (42);
INSERT INTO caudex_rbac.turns VALUES (43);
INSERT INTO caudex_rbac.turns VALUES (44);
INSERT INTO caudex_rbac.turns VALUES (45);
INSERT INTO caudex_rbac.turns VALUES (46);
INSERT INTO caudex_rbac.turns VALUES (47);
INSERT INTO caudex_rbac.turns VALUES (48);
INSERT INTO caudex_rbac.turns VALUES (49);
INSERT INTO caudex_rbac.turns VALUES (50);
INSERT INTO caudex_rbac.turns VALUES (51);
INSERT INTO caudex_rbac.turns VALUES (52);
INSERT INTO caudex_rbac.turns VALUES (53);
INSERT INTO caudex_rbac.turns VALUES (54);
INSERT INTO caudex_rbac.turns VALUES (55);
INSERT INTO caudex_rbac.turns VALUES (56);
INSERT INTO caudex_rbac.turns VALUES (57);
INSERT INTO caudex_rbac.turns VALUES (58);
INSERT INTO caudex_rbac.turns VALUES (59);
INSERT INTO caudex_rbac.turns VALUES (60);
INSERT INTO caudex_rbac.turns VALUES (61);
INSERT INTO caudex_rbac.turns VALUES (62);
INSERT INTO caudex_rbac.turns VALUES (63);
INSERT INTO caudex_rbac.turns VALUES (64);
INSERT INTO caudex_rbac.turns VALUES (65);
INSERT INTO caudex_rbac.turns VALUES (66);
INSERT INTO caudex_rbac.turns VALUES (67);
INSERT INTO caudex_rbac.turns VALUES (68);
INSERT INTO caudex_rbac.turns VALUES (69);
INSERT INTO caudex_rbac.turns VALUES (70);
INSERT INTO caudex_rbac.turns VALUES (71);
INSERT INTO caudex_rbac.turns VALUES (72);
INSERT INTO caudex_rbac.turns VALUES (73);
INSERT INTO caudex_rbac.turns VALUES (74);
INSERT INTO caudex_rbac.turns VALUES (75);
INSERT INTO caudex_rbac.turns VALUES (76);
INSERT INTO caudex_rbac.turns VALUES (77);
INSERT INTO caudex_rbac.turns VALUES (78);
INSERT INTO caudex_rbac.turns VALUES (79);
INSERT INTO caudex_rbac.turns VALUES (80);
INSERT INTO caudex_rbac.turns VALUES (81);
INSERT INTO caudex_rbac.turns VALUES (82);
INSERT INTO caudex_rbac.turns VALUES (83);
INSERT INTO caudex_rbac.turns VALUES (84);
INSERT INTO caudex_rbac.turns VALUES (85);
INSERT INTO caudex_rbac.turns VALUES (86);
INSERT INTO caudex_rbac.turns VALUES (87);
INSERT INTO caudex_rbac.turns VALUES (88);
INSERT INTO caudex_rbac.turns VALUES (89);
INSERT INTO caudex_rbac.turns VALUES (90);
INSERT INTO caudex_rbac.turns VALUES (91);
INSERT INTO caudex_rbac.turns VALUES (92);
INSERT INTO caudex_rbac.turns VALUES (93);
INSERT INTO caudex_rbac.turns VALUES (94);
INSERT INTO caudex_rbac.turns VALUES (95);
INSERT INTO caudex_rbac.turns VALUES (96);
INSERT INTO caudex_rbac.turns VALUES (97);
INSERT INTO caudex_rbac.turns VALUES (98);
INSERT INTO caudex_rbac.turns VALUES (99);
INSERT INTO caudex_rbac.turns VALUES (100);
INSERT INTO caudex_rbac.turns VALUES (101);
INSERT INTO caudex_rbac.turns VALUES (102);
INSERT INTO caudex_rbac.turns VALUES (103);
INSERT INTO caudex_rbac.turns VALUES (104);
INSERT INTO caudex_rbac.turns VALUES (105);
INSERT INTO caudex_rbac.turns VALUES (106);
INSERT INTO caudex_rbac.turns VALUES (107);
INSERT INTO caudex_rbac.turns VALUES (108);
INSERT INTO caudex_rbac.turns VALUES (109);
INSERT INTO caudex_rbac.turns VALUES (110);
INSERT INTO caudex_rbac.turns VALUES (111);
INSERT INTO caudex_rbac.turns VALUES (112);
INSERT INTO caudex_rbac.turns VALUES (113);
INSERT INTO caudex_rbac.turns VALUES (114);
INSERT INTO caudex_rbac.turns VALUES (115);
INSERT INTO caudex_rbac.turns VALUES (116);
INSERT INTO caudex_rbac.turns VALUES (117);
INSERT INTO caudex_rbac.turns VALUES (118);
INSERT INTO caudex_rbac.turns VALUES (119);
INSERT INTO caudex_rbac.turns VALUES (120);
INSERT INTO caudex_rbac.turns VALUES (121);
INSERT INTO caudex_rbac.turns VALUES (122);
INSERT INTO caudex_rbac.turns VALUES (123);
INSERT INTO caudex_rbac.turns VALUES (124);
INSERT INTO caudex_rbac.turns VALUES (125);
INSERT INTO caudex_rbac.turns VALUES (126);
INSERT INTO caudex_rbac.turns VALUES (127);
INSERT INTO caudex_rbac.turns VALUES (128);
INSERT INTO caudex_rbac.turns VALUES (129);
INSERT INTO caudex_rbac.turns VALUES (130);
INSERT INTO caudex_rbac.turns VALUES (131);
INSERT INTO caudex_rbac.turns VALUES (132);
INSERT INTO caudex_rbac.turns VALUES (133);
INSERT INTO caudex_rbac.turns VALUES (134);
INSERT INTO caudex_rbac.turns VALUES (135);
INSERT INTO caudex_rbac.turns VALUES (136);
INSERT INTO caudex_rbac.turns VALUES (137);
INSERT INTO caudex_rbac.turns VALUES (138);
INSERT INTO caudex_rbac.turns VALUES (139);
INSERT INTO caudex_rbac.turns VALUES (140);
INSERT INTO caudex_rbac.turns VALUES (141);
INSERT INTO caudex_rbac.turns VALUES (142);
INSERT INTO caudex_rbac.turns VALUES (143);
INSERT INTO caudex_rbac.turns VALUES (144);
INSERT INTO caudex_rbac.turns VALUES (145);
INSERT INTO caudex_rbac.turns VALUES (146);
INSERT INTO caudex_rbac.turns VALUES (147);
INSERT INTO caudex_rbac.turns VALUES (148);
INSERT INTO caudex_rbac.turns VALUES (149);
INSERT INTO caudex_rbac.turns VALUES (150);
INSERT INTO caudex_rbac.turns VALUES (151);
INSERT INTO caudex_rbac.turns VALUES (152);
INSERT INTO caudex_rbac.turns VALUES (153);
INSERT INTO caudex_rbac.turns VALUES (154);
INSERT INTO caudex_rbac.turns VALUES (155);
INSERT INTO caudex_rbac.turns VALUES (156);
INSERT INTO caudex_rbac.turns VALUES (157);
INSERT INTO caudex_rbac.turns VALUES (158);
INSERT INTO caudex_rbac.turns VALUES (159);
INSERT INTO caudex_rbac.turns VALUES (160);
INSERT INTO caudex_rbac.turns VALUES (161);
INSERT INTO caudex_rbac.turns VALUES (162);
INSERT INTO caudex_rbac.turns VALUES (163);
INSERT INTO caudex_rbac.turns VALUES (164);
INSERT INTO caudex_rbac.turns VALUES (165);
INSERT INTO caudex_rbac.turns VALUES (166);
INSERT INTO caudex_rbac.turns VALUES (167);
INSERT INTO caudex_rbac.turns VALUES (168);
INSERT INTO caudex_rbac.turns VALUES (169);
INSERT INTO caudex_rbac.turns VALUES (170);
INSERT INTO caudex_rbac.turns VALUES (171);
INSERT INTO caudex_rbac.turns VALUES (172);
INSERT INTO caudex_rbac.turns VALUES (173);
INSERT INTO caudex_rbac.turns VALUES (174);
INSERT INTO caudex_rbac.turns VALUES (175);
INSERT INTO caudex_rbac.turns VALUES (176);
INSERT INTO caudex_rbac.turns VALUES (177);
INSERT INTO caudex_rbac.turns VALUES (178);
INSERT INTO caudex_rbac.turns VALUES (179);
INSERT INTO caudex_rbac.turns VALUES (180);
INSERT INTO caudex_rbac.turns VALUES (181);
INSERT INTO caudex_rbac.turns VALUES (182);
INSERT INTO caudex_rbac.turns VALUES (183);
INSERT INTO caudex_rbac.turns VALUES (184);
INSERT INTO caudex_rbac.turns VALUES (185);
INSERT INTO caudex_rbac.turns VALUES (186);
INSERT INTO caudex_rbac.turns VALUES (187);
INSERT INTO caudex_rbac.turns VALUES (188);
INSERT INTO caudex_rbac.turns VALUES (189);
INSERT INTO caudex_rbac.turns VALUES (190);
INSERT INTO caudex_rbac.turns VALUES (191);
INSERT INTO caudex_rbac.turns VALUES (192);
INSERT INTO caudex_rbac.turns VALUES (193);
INSERT INTO caudex_rbac.turns VALUES (194);
INSERT INTO caudex_rbac.turns VALUES (195);
INSERT INTO caudex_rbac.turns VALUES (196);
INSERT INTO caudex_rbac.turns VALUES (197);
INSERT INTO caudex_rbac.turns VALUES (198);
INSERT INTO caudex_rbac.turns VALUES (199);
INSERT INTO caudex_rbac.turns VALUES (200);
INSERT INTO caudex_rbac.turns VALUES (201);
INSERT INTO caudex_rbac.turns VALUES (202);
INSERT INTO caudex_rbac.turns VALUES (203);
INSERT INTO caudex_rbac.turns VALUES (204);
INSERT INTO caudex_rbac.turns VALUES (205);
INSERT INTO caudex_rbac.turns VALUES (206);
INSERT INTO caudex_rbac.turns VALUES (207);
INSERT INTO caudex_rbac.turns VALUES (208);
INSERT INTO caudex_rbac.turns VALUES (209);
INSERT INTO caudex_rbac.turns VALUES (210);
INSERT INTO caudex_rbac.turns VALUES (211);
INSERT INTO caudex_rbac.turns VALUES (212);
INSERT INTO caudex_rbac.turns VALUES (213);
INSERT INTO caudex_rbac.turns VALUES (214);
INSERT INTO caudex_rbac.turns VALUES (215);
INSERT INTO caudex_rbac.turns VALUES (216);
INSERT INTO caudex_rbac.turns VALUES (217);
INSERT INTO caudex_rbac.turns VALUES (218);
INSERT INTO caudex_rbac.turns VALUES (219);
INSERT INTO caudex_rbac.turns VALUES (220);
INSERT INTO caudex_rbac.turns VALUES (221);
INSERT INTO caudex_rbac.turns VALUES (222);
INSERT INTO caudex_rbac.turns VALUES (223);
INSERT INTO caudex_rbac.turns VALUES (224);
INSERT INTO caudex_rbac.turns VALUES (225);
INSERT INTO caudex_rbac.turns VALUES (226);
INSERT INTO caudex_rbac.turns VALUES (227);
INSERT INTO caudex_rbac.turns VALUES (228);
INSERT INTO caudex_rbac.turns VALUES (229);
INSERT INTO caudex_rbac.turns VALUES (230);
INSERT INTO caudex_rbac.turns VALUES (231);
INSERT INTO caudex_rbac.turns VALUES (232);
INSERT INTO caudex_rbac.turns VALUES (233);
INSERT INTO caudex_rbac.turns VALUES (234);
INSERT INTO caudex_rbac.turns VALUES (235);
INSERT INTO caudex_rbac.turns VALUES (236);
INSERT INTO caudex_rbac.turns VALUES (237);
INSERT INTO caudex_rbac.turns VALUES (238);
INSERT INTO caudex_rbac.turns VALUES (239);
INSERT INTO caudex_rbac.turns VALUES (240);
INSERT INTO caudex_rbac.turns VALUES (241);
INSERT INTO caudex_rbac.turns VALUES (242);
INSERT INTO caudex_rbac.turns VALUES (243);
INSERT INTO caudex_rbac.turns VALUES (244);
INSERT INTO caudex_rbac.turns VALUES (245);
INSERT INTO caudex_rbac.turns VALUES (246);
INSERT INTO caudex_rbac.turns VALUES (247);
INSERT INTO caudex_rbac.turns VALUES (248);
INSERT INTO caudex_rbac.turns VALUES (249);
INSERT INTO caudex_rbac.turns VALUES (250);
INSERT INTO caudex_rbac.turns VALUES (251);
INSERT INTO caudex_rbac.turns VALUES (252);
INSERT INTO caudex_rbac.turns VALUES (253);
INSERT INTO caudex_rbac.turns VALUES (254);
INSERT INTO caudex_rbac.turns VALUES (255);
INSERT INTO caudex_vault.data_keys VALUES ('34ff326b-f5ed-463b-90d8-21d20d0b9438', 'app', 'crm', 'cfdae40533aadb37', '\x0ff791dff57439cee43699acba2c10910ea3441e24ce6feb322efe8af52c4e8be3ebc51b6734a281ce81f77d4441a9cf9de75630c22242276f9fbeea58948f9811164cd66c686c3d', '2026-11-28 03:05:14.183855+00');
INSERT INTO caudex_vault.data_keys VALUES ('8c8e735f-93a4-4250-b91b-0a2379d8b3c4', 'app', 'early', 'cfdae40533aadb37', '\xfe9e2e370283f216949e5ca4f4605b78ed0d5e27aca8d9140592d5230674e1d61d47ea781c53c80101ba19a311a5999793c2daf881395da049e4cb324252ac78c3a665457ae31612', '2026-11-28 03:05:14.241169+00');
INSERT INTO caudex_vault.data_keys VALUES ('1f61bbfa-f5e8-44b1-bd4b-06345eac4963', 'app', 'swapped', 'cfdae40533aadb37', '\x97aa39ab74abba3dba660d059e85bf56288b80227c0253ac16a2f7858ea2a048c6499032f1988ee44b32a80e4048fd5334c91ecf3a1053d13f09cbb52989293d25dd441517d95fc9', '2026-11-28 03:05:14.389218+00');
INSERT INTO caudex_vault.data_keys VALUES ('e77125f6-a092-4f9e-badc-a71195cd7a54', 'app', 'removed', 'cfdae40533aadb37', '\x515544c92b5abdaaa24e6793579db21d70790d023353b88ce60a2689b579e7a90f452b0b563a75588c626c2019f495011f63c80bf79c3e02cf7a6e12442b1fccb06da1e2a21e6dde', '2026-11-28 03:05:14.445341+00');
INSERT INTO caudex_vault.data_keys VALUES ('cbf5bf4d-f4f9-4135-8dfa-3487324627b8', 'platform', '', 'cfdae40533aadb37', '\x5f8baf545afa0601af39cc401abc2253f7f29bf0721819e1f2338ef297c45bed9273c8d1ffd0aee3d5dd1e6ded2752e46354f49edc481692ba424240374be90fb2f0b40943e3e541', '2026-11-28 03:05:14.472162+00');
INSERT INTO caudex_vault.lives VALUES ('crm', 1);
INSERT INTO caudex_vault.lives VALUES ('removed', 5);
INSERT INTO caudex_vault.lives VALUES ('again', 7);
INSERT INTO caudex_vault.lives VALUES ('early', 0);
INSERT INTO caudex_vault.lives VALUES ('swapped', 1);
INSERT INTO caudex_vault.master VALUES (true, 'cfdae40533aadb37');
INSERT INTO caudex_vault.secrets VALUES ('app', 'crm', 'TOKEN', 1, '34ff326b-f5ed-463b-90d8-21d20d0b9438', '\x05abf3fec7f1afb7310f8e80a0839e4c1230c9d9f06e5e7c76abaaac4838a94c94bf01ac567340549e69edbaa9d035f7141873b568', '2026-11-28 03:05:14.183855+00');
INSERT INTO caudex_vault.secrets VALUES ('app', 'early', 'TOKEN', 1, '8c8e735f-93a4-4250-b91b-0a2379d8b3c4', '\x0ba6160687d13212e80e22758d268bd68bcf4e16a71c079b4764a351416c9d907dd40c9edcb5f06e7d4914001a4728fed6d1b76fefa6c1', '2026-11-28 03:05:14.241169+00');
INSERT INTO caudex_vault.secrets VALUES ('app', 'swapped', 'TOKEN', 1, '1f61bbfa-f5e8-44b1-bd4b-06345eac4963', '\xfd10e1736500000bd7a7121b0eea7418982b3b7945ec839d1c431f048debd8c222596e1ffdff5a2971cffc7f53763b52436bc3ef2cf236431b', '2026-11-28 03:05:14.389218+00');
INSERT INTO caudex_vault.secrets VALUES ('app', 'removed', 'TOKEN', 1, 'e77125f6-a092-4f9e-badc-a71195cd7a54', '\x12ee7250108f079e3cea378a4dc354f3518da238ceafee7cc5a81c5247364c1db0b135bfd046cb024d3907f95665ad5839c7ddbedfd35108dd', '2026-11-28 03:05:14.445341+00');
INSERT INTO caudex_vault.secrets VALUES ('platform', '', 'SHARED', 1, 'cbf5bf4d-f4f9-4135-8dfa-3487324627b8', '\xdc4baa0b74b7ca1a6fc3f6c89ca141a8b2b8e8d411a2997fe07889ba1f6078fbfd8612d47caeb089b0fdd7ae19a16261a69696fbee829a', '2026-11-28 03:05:14.472162+00');
INSERT INTO caudex_workers.apps VALUES ('crm', 1, 2, 1, false, 2, 'VhQvGb_C507-aDrGMXE49aIfMTt12Bno', 1);
INSERT INTO caudex_workers.chunks VALUES ('crm', 1, 0, '\x1f8b0800ea440a6b04ffedd2b16ac330108061cf7a8a23930dc19860522804f210858e453832368d6d719648faf65563d340b70e99f2df22e90e4ed2275d26fd745afaafec7151a5d8d775f633a6f83b56bbfa37b7d65ff6bb3a93ea7147ba778e73b09a8e74cf3cd5ccb43a0dd2d87872d78fcbed33483ff84983bcdf56664d1ed6755e98e3922ad537e6e45a714d37e5deaa1de6ad34e15abc1a49a12e441d652918affd18f28d95733f3a995a099d93a5d1662bed39cedde14da32bd60d4b8d63daeba91e83cb2280000208208000020820800002082080000208208000020820800002082080000208208000020820800002ff10f8064123fb7600280000');
INSERT INTO caudex_workers.versions VALUES ('crm', 1, '61035fe72569711ca42a2e6734c8d2a23b049ffa8a8edddfb0f8f6bc82ebdca6', 256, '2026-11-28 03:05:15.049442+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b');
INSERT INTO crm.contacts VALUES ('0a276769-f02a-4cec-8b57-728b93ebd965', '2026-11-28 03:05:14.190245+00', '2026-11-28 03:05:14.199407+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'Eva', '{a,crm}');
INSERT INTO crm.deals VALUES ('53f1e4bf-292e-42ea-833d-cf1f5a0375fb', '2026-11-28 03:05:14.197021+00', '2026-11-28 03:05:14.197021+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'big', 12.5, '0a276769-f02a-4cec-8b57-728b93ebd965');
INSERT INTO early.contacts VALUES ('a32faf54-3526-49f5-986c-488c05fe4325', '2026-11-28 03:05:14.248943+00', '2026-11-28 03:05:14.259375+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'Eva', '{a,early}');
INSERT INTO early.deals VALUES ('030bb22f-febb-40c3-9c5c-12b5a5b663e3', '2026-11-28 03:05:14.256686+00', '2026-11-28 03:05:14.256686+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'big', 12.5, 'a32faf54-3526-49f5-986c-488c05fe4325');
INSERT INTO swapped.contacts VALUES ('4a0ec4be-4831-41fe-8eb5-baeeb0faa558', '2026-11-28 03:05:14.395074+00', '2026-11-28 03:05:14.400882+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'Eva', '{a,swapped}');
INSERT INTO swapped.deals VALUES ('e4eab897-fea4-4382-9c7f-2713758beb10', '2026-11-28 03:05:14.398329+00', '2026-11-28 03:05:14.398329+00', 'ca9c5d45-42d3-4a35-bf27-309200f29f5b', 'big', 12.5, '4a0ec4be-4831-41fe-8eb5-baeeb0faa558');
SELECT pg_catalog.setval('caudex_apps.stamps', 7, true);
SELECT pg_catalog.setval('caudex_audit.log_id', 78, true);
SELECT pg_catalog.setval('caudex_cron.runs_id_seq', 1, false);
SELECT pg_catalog.setval('caudex_logs.lines_id_seq', 8, true);
SELECT pg_catalog.setval('caudex_workers.numbers', 1, true);
ALTER TABLE ONLY again.contacts
    ADD CONSTRAINT _contacts_id_pkey_8d982414 PRIMARY KEY (id);
ALTER TABLE ONLY again.deals
    ADD CONSTRAINT _deals_id_pkey_32fbbd9a PRIMARY KEY (id);
ALTER TABLE ONLY caudex_apps.apps
    ADD CONSTRAINT apps_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_apps.columns
    ADD CONSTRAINT columns_pkey PRIMARY KEY (app_id, entity, name);
ALTER TABLE ONLY caudex_apps.entities
    ADD CONSTRAINT entities_pkey PRIMARY KEY (app_id, name);
ALTER TABLE ONLY caudex_apps.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_audit.kinds
    ADD CONSTRAINT kinds_pkey PRIMARY KEY (table_schema, table_name, operation);
ALTER TABLE ONLY caudex_audit.lives
    ADD CONSTRAINT lives_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_audit.log
    ADD CONSTRAINT log_pkey PRIMARY KEY (id, changed_at);
ALTER TABLE ONLY caudex_audit.log_2026_11
    ADD CONSTRAINT log_2026_11_pkey PRIMARY KEY (id, changed_at);
ALTER TABLE ONLY caudex_audit.log_2026_12
    ADD CONSTRAINT log_2026_12_pkey PRIMARY KEY (id, changed_at);
ALTER TABLE ONLY caudex_audit.log_2027_01
    ADD CONSTRAINT log_2027_01_pkey PRIMARY KEY (id, changed_at);
ALTER TABLE ONLY caudex_audit.log_default
    ADD CONSTRAINT log_default_pkey PRIMARY KEY (id, changed_at);
ALTER TABLE ONLY caudex_auth.networks
    ADD CONSTRAINT networks_pkey PRIMARY KEY (user_id, network);
ALTER TABLE ONLY caudex_auth.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_auth.throttle
    ADD CONSTRAINT throttle_pkey PRIMARY KEY (key);
ALTER TABLE ONLY caudex_auth.users
    ADD CONSTRAINT users_email_taken UNIQUE (email_key);
ALTER TABLE ONLY caudex_auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_auth.users
    ADD CONSTRAINT users_username_taken UNIQUE (username_key);
ALTER TABLE ONLY caudex_cron.apps
    ADD CONSTRAINT apps_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_cron.crons
    ADD CONSTRAINT crons_app_id_name_key UNIQUE (app_id, name);
ALTER TABLE ONLY caudex_cron.crons
    ADD CONSTRAINT crons_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_cron.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_jobs.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_jobs.lives
    ADD CONSTRAINT lives_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_jobs.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (name);
ALTER TABLE ONLY caudex_kernel.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (name);
ALTER TABLE ONLY caudex_kernel.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (plugin, name);
ALTER TABLE ONLY caudex_kernel.revisions
    ADD CONSTRAINT revisions_pkey PRIMARY KEY (topic);
ALTER TABLE ONLY caudex_logs.lines
    ADD CONSTRAINT lines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_logs.lives
    ADD CONSTRAINT lives_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_logs.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (number);
ALTER TABLE ONLY caudex_oidc.granted
    ADD CONSTRAINT granted_pkey PRIMARY KEY (user_id, app_id, role);
ALTER TABLE ONLY caudex_oidc.handovers
    ADD CONSTRAINT handovers_pkey PRIMARY KEY (code_hash);
ALTER TABLE ONLY caudex_oidc.links
    ADD CONSTRAINT links_pkey PRIMARY KEY (issuer, subject);
ALTER TABLE ONLY caudex_rbac.apps
    ADD CONSTRAINT apps_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_rbac.assignments
    ADD CONSTRAINT assignments_pkey PRIMARY KEY (app_id, role, user_id);
ALTER TABLE ONLY caudex_rbac.roles
    ADD CONSTRAINT roles_pkey PRIMARY KEY (app_id, name);
ALTER TABLE ONLY caudex_rbac.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (number);
ALTER TABLE ONLY caudex_vault.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY caudex_vault.data_keys
    ADD CONSTRAINT data_keys_scope_app_id_key UNIQUE (scope, app_id);
ALTER TABLE ONLY caudex_vault.lives
    ADD CONSTRAINT lives_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_vault.master
    ADD CONSTRAINT master_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY caudex_vault.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (scope, app_id, key);
ALTER TABLE ONLY caudex_vault_file.folder
    ADD CONSTRAINT folder_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY caudex_vault_file.lives
    ADD CONSTRAINT lives_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_workers.apps
    ADD CONSTRAINT apps_number_key UNIQUE (number);
ALTER TABLE ONLY caudex_workers.apps
    ADD CONSTRAINT apps_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY caudex_workers.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (app_id, version, "position");
ALTER TABLE ONLY caudex_workers.replicas
    ADD CONSTRAINT replicas_pkey PRIMARY KEY (server_id, app_id);
ALTER TABLE ONLY caudex_workers.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (app_id, version);
ALTER TABLE ONLY crm.contacts
    ADD CONSTRAINT _contacts_id_pkey_8d982414 PRIMARY KEY (id);
ALTER TABLE ONLY crm.deals
    ADD CONSTRAINT _deals_id_pkey_32fbbd9a PRIMARY KEY (id);
ALTER TABLE ONLY early.contacts
    ADD CONSTRAINT _contacts_id_pkey_8d982414 PRIMARY KEY (id);
ALTER TABLE ONLY early.deals
    ADD CONSTRAINT _deals_id_pkey_32fbbd9a PRIMARY KEY (id);
ALTER TABLE ONLY swapped.contacts
    ADD CONSTRAINT _contacts_id_pkey_8d982414 PRIMARY KEY (id);
ALTER TABLE ONLY swapped.deals
    ADD CONSTRAINT _deals_id_pkey_32fbbd9a PRIMARY KEY (id);
CREATE INDEX _contacts__owner_created_at_id_idx_fa26c525 ON again.contacts USING btree (_owner, created_at, id);
CREATE INDEX _contacts_created_at_id_idx_103d2bf9 ON again.contacts USING btree (created_at, id);
CREATE INDEX _deals__owner_created_at_id_idx_9e7e8152 ON again.deals USING btree (_owner, created_at, id);
CREATE INDEX _deals_contact_idx_18a37a32 ON again.deals USING btree (contact);
CREATE INDEX _deals_created_at_id_idx_1bbec156 ON again.deals USING btree (created_at, id);
CREATE INDEX log_actor ON ONLY caudex_audit.log USING btree (actor_id, ((- id)));
CREATE INDEX log_2026_11_actor_id_expr_idx ON caudex_audit.log_2026_11 USING btree (actor_id, ((- id)));
CREATE INDEX log_record ON ONLY caudex_audit.log USING btree (record_id, ((- id)));
CREATE INDEX log_2026_11_record_id_expr_idx ON caudex_audit.log_2026_11 USING btree (record_id, ((- id)));
CREATE INDEX log_kind ON ONLY caudex_audit.log USING btree (table_schema, table_name, operation, ((- id)));
CREATE INDEX log_2026_11_table_schema_table_name_operation_expr_idx ON caudex_audit.log_2026_11 USING btree (table_schema, table_name, operation, ((- id)));
CREATE INDEX log_2026_12_actor_id_expr_idx ON caudex_audit.log_2026_12 USING btree (actor_id, ((- id)));
CREATE INDEX log_2026_12_record_id_expr_idx ON caudex_audit.log_2026_12 USING btree (record_id, ((- id)));
CREATE INDEX log_2026_12_table_schema_table_name_operation_expr_idx ON caudex_audit.log_2026_12 USING btree (table_schema, table_name, operation, ((- id)));
CREATE INDEX log_2027_01_actor_id_expr_idx ON caudex_audit.log_2027_01 USING btree (actor_id, ((- id)));
CREATE INDEX log_2027_01_record_id_expr_idx ON caudex_audit.log_2027_01 USING btree (record_id, ((- id)));
CREATE INDEX log_2027_01_table_schema_table_name_operation_expr_idx ON caudex_audit.log_2027_01 USING btree (table_schema, table_name, operation, ((- id)));
CREATE INDEX log_default_actor_id_expr_idx ON caudex_audit.log_default USING btree (actor_id, ((- id)));
CREATE INDEX log_default_record_id_expr_idx ON caudex_audit.log_default USING btree (record_id, ((- id)));
CREATE INDEX log_default_table_schema_table_name_operation_expr_idx ON caudex_audit.log_default USING btree (table_schema, table_name, operation, ((- id)));
CREATE INDEX networks_age ON caudex_auth.networks USING btree (seen_at);
CREATE INDEX sessions_expiry ON caudex_auth.sessions USING btree (expires_at);
CREATE INDEX sessions_user ON caudex_auth.sessions USING btree (user_id, created_at DESC);
CREATE INDEX throttle_age ON caudex_auth.throttle USING btree (failed_at);
CREATE INDEX crons_due ON caudex_cron.crons USING btree (next_due) WHERE enabled;
CREATE INDEX runs_listed ON caudex_cron.runs USING btree (cron_id, id);
CREATE UNIQUE INDEX runs_once ON caudex_cron.runs USING btree (cron_id, due) WHERE (triggered_by IS NULL);
CREATE INDEX runs_waiting ON caudex_cron.runs USING btree (cron_id, id) WHERE (state = 'waiting'::text);
CREATE INDEX jobs_ended ON caudex_jobs.jobs USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE UNIQUE INDEX jobs_key ON caudex_jobs.jobs USING btree (app_id, key) WHERE ((key IS NOT NULL) AND (status = ANY (ARRAY['pending'::text, 'running'::text])));
CREATE INDEX jobs_listed ON caudex_jobs.jobs USING btree (app_id, status, created_at, id);
CREATE INDEX jobs_ready ON caudex_jobs.jobs USING btree (app_id, suspect, priority DESC, run_at, id) WHERE ((status = 'pending'::text) AND due);
CREATE INDEX jobs_running ON caudex_jobs.jobs USING btree (id) WHERE (status = 'running'::text);
CREATE INDEX jobs_scheduled ON caudex_jobs.jobs USING btree (run_at) WHERE ((status = 'pending'::text) AND (NOT due));
CREATE INDEX lines_by_age ON caudex_logs.lines USING btree (ts);
CREATE INDEX lines_by_app ON caudex_logs.lines USING btree (app_id, id);
CREATE INDEX handovers_expiry ON caudex_oidc.handovers USING btree (expires_at);
CREATE INDEX links_user ON caudex_oidc.links USING btree (user_id);
CREATE INDEX assignments_by_user ON caudex_rbac.assignments USING btree (user_id);
CREATE INDEX replicas_app ON caudex_workers.replicas USING btree (app_id);
CREATE INDEX _contacts__owner_created_at_id_idx_fa26c525 ON crm.contacts USING btree (_owner, created_at, id);
CREATE INDEX _contacts_created_at_id_idx_103d2bf9 ON crm.contacts USING btree (created_at, id);
CREATE INDEX _deals__owner_created_at_id_idx_9e7e8152 ON crm.deals USING btree (_owner, created_at, id);
CREATE INDEX _deals_contact_idx_18a37a32 ON crm.deals USING btree (contact);
CREATE INDEX _deals_created_at_id_idx_1bbec156 ON crm.deals USING btree (created_at, id);
CREATE INDEX _contacts__owner_created_at_id_idx_fa26c525 ON early.contacts USING btree (_owner, created_at, id);
CREATE INDEX _contacts_created_at_id_idx_103d2bf9 ON early.contacts USING btree (created_at, id);
CREATE INDEX _deals__owner_created_at_id_idx_9e7e8152 ON early.deals USING btree (_owner, created_at, id);
CREATE INDEX _deals_contact_idx_18a37a32 ON early.deals USING btree (contact);
CREATE INDEX _deals_created_at_id_idx_1bbec156 ON early.deals USING btree (created_at, id);
CREATE INDEX _contacts__owner_created_at_id_idx_fa26c525 ON swapped.contacts USING btree (_owner, created_at, id);
CREATE INDEX _contacts_created_at_id_idx_103d2bf9 ON swapped.contacts USING btree (created_at, id);
CREATE INDEX _deals__owner_created_at_id_idx_9e7e8152 ON swapped.deals USING btree (_owner, created_at, id);
CREATE INDEX _deals_contact_idx_18a37a32 ON swapped.deals USING btree (contact);
CREATE INDEX _deals_created_at_id_idx_1bbec156 ON swapped.deals USING btree (created_at, id);
ALTER INDEX caudex_audit.log_actor ATTACH PARTITION caudex_audit.log_2026_11_actor_id_expr_idx;
ALTER INDEX caudex_audit.log_pkey ATTACH PARTITION caudex_audit.log_2026_11_pkey;
ALTER INDEX caudex_audit.log_record ATTACH PARTITION caudex_audit.log_2026_11_record_id_expr_idx;
ALTER INDEX caudex_audit.log_kind ATTACH PARTITION caudex_audit.log_2026_11_table_schema_table_name_operation_expr_idx;
ALTER INDEX caudex_audit.log_actor ATTACH PARTITION caudex_audit.log_2026_12_actor_id_expr_idx;
ALTER INDEX caudex_audit.log_pkey ATTACH PARTITION caudex_audit.log_2026_12_pkey;
ALTER INDEX caudex_audit.log_record ATTACH PARTITION caudex_audit.log_2026_12_record_id_expr_idx;
ALTER INDEX caudex_audit.log_kind ATTACH PARTITION caudex_audit.log_2026_12_table_schema_table_name_operation_expr_idx;
ALTER INDEX caudex_audit.log_actor ATTACH PARTITION caudex_audit.log_2027_01_actor_id_expr_idx;
ALTER INDEX caudex_audit.log_pkey ATTACH PARTITION caudex_audit.log_2027_01_pkey;
ALTER INDEX caudex_audit.log_record ATTACH PARTITION caudex_audit.log_2027_01_record_id_expr_idx;
ALTER INDEX caudex_audit.log_kind ATTACH PARTITION caudex_audit.log_2027_01_table_schema_table_name_operation_expr_idx;
ALTER INDEX caudex_audit.log_actor ATTACH PARTITION caudex_audit.log_default_actor_id_expr_idx;
ALTER INDEX caudex_audit.log_pkey ATTACH PARTITION caudex_audit.log_default_pkey;
ALTER INDEX caudex_audit.log_record ATTACH PARTITION caudex_audit.log_default_record_id_expr_idx;
ALTER INDEX caudex_audit.log_kind ATTACH PARTITION caudex_audit.log_default_table_schema_table_name_operation_expr_idx;
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON again.contacts FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON again.deals FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON again.contacts FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON again.deals FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON again.contacts FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON again.deals FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON caudex_audit.log FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.refuse();
ALTER TABLE caudex_audit.log ENABLE ALWAYS TRIGGER refuse;
CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON caudex_audit.log_2026_11 FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.refuse();
ALTER TABLE caudex_audit.log_2026_11 ENABLE ALWAYS TRIGGER refuse;
CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON caudex_audit.log_2026_12 FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.refuse();
ALTER TABLE caudex_audit.log_2026_12 ENABLE ALWAYS TRIGGER refuse;
CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON caudex_audit.log_2027_01 FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.refuse();
ALTER TABLE caudex_audit.log_2027_01 ENABLE ALWAYS TRIGGER refuse;
CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON caudex_audit.log_default FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.refuse();
ALTER TABLE caudex_audit.log_default ENABLE ALWAYS TRIGGER refuse;
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON crm.contacts FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON crm.deals FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON crm.contacts FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON crm.deals FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON crm.contacts FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON crm.deals FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON early.contacts FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON early.deals FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON early.contacts FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON early.deals FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON early.contacts FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON early.deals FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON swapped.contacts FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit AFTER INSERT OR DELETE OR UPDATE ON swapped.deals FOR EACH ROW EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON swapped.contacts FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_audit_truncate AFTER TRUNCATE ON swapped.deals FOR EACH STATEMENT EXECUTE FUNCTION caudex_audit.record();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON swapped.contacts FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
CREATE TRIGGER caudex_touch BEFORE UPDATE ON swapped.deals FOR EACH ROW EXECUTE FUNCTION caudex_apps.touch();
ALTER TABLE ONLY again.deals
    ADD CONSTRAINT _deals_contact_fkey_9dcb43a0 FOREIGN KEY (contact) REFERENCES again.contacts(id) ON DELETE SET NULL;
ALTER TABLE ONLY caudex_apps.columns
    ADD CONSTRAINT columns_app_id_entity_fkey FOREIGN KEY (app_id, entity) REFERENCES caudex_apps.entities(app_id, name) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_apps.entities
    ADD CONSTRAINT entities_app_id_fkey FOREIGN KEY (app_id) REFERENCES caudex_apps.apps(id) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_auth.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES caudex_auth.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_cron.crons
    ADD CONSTRAINT crons_app_id_fkey FOREIGN KEY (app_id) REFERENCES caudex_cron.apps(app_id) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_cron.runs
    ADD CONSTRAINT runs_cron_id_fkey FOREIGN KEY (cron_id) REFERENCES caudex_cron.crons(id) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_rbac.assignments
    ADD CONSTRAINT assignments_app_id_role_fkey FOREIGN KEY (app_id, role) REFERENCES caudex_rbac.roles(app_id, name) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_rbac.roles
    ADD CONSTRAINT roles_app_id_fkey FOREIGN KEY (app_id) REFERENCES caudex_rbac.apps(app_id) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_vault.secrets
    ADD CONSTRAINT secrets_data_key_fkey FOREIGN KEY (data_key) REFERENCES caudex_vault.data_keys(id);
ALTER TABLE ONLY caudex_workers.chunks
    ADD CONSTRAINT chunks_app_id_version_fkey FOREIGN KEY (app_id, version) REFERENCES caudex_workers.versions(app_id, version) ON DELETE CASCADE;
ALTER TABLE ONLY caudex_workers.versions
    ADD CONSTRAINT versions_app_id_fkey FOREIGN KEY (app_id) REFERENCES caudex_workers.apps(app_id) ON DELETE CASCADE;
ALTER TABLE ONLY crm.deals
    ADD CONSTRAINT _deals_contact_fkey_a49b6a22 FOREIGN KEY (contact) REFERENCES crm.contacts(id) ON DELETE SET NULL;
ALTER TABLE ONLY early.deals
    ADD CONSTRAINT _deals_contact_fkey_8d96d09c FOREIGN KEY (contact) REFERENCES early.contacts(id) ON DELETE SET NULL;
ALTER TABLE ONLY swapped.deals
    ADD CONSTRAINT _deals_contact_fkey_42ee8fc1 FOREIGN KEY (contact) REFERENCES swapped.contacts(id) ON DELETE SET NULL;
REVOKE ALL ON FUNCTION caudex_apps.boolean_to_json(value boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.boolean_to_number(value boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.boolean_to_text(value boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.date_to_text(value date) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.date_to_json(value date) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.date_to_timestamp(value date) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_repeats_key(value json) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_boolean(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_date(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_date(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_number(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_number_array(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_text(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_text_array(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_timestamp(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_timestamp(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_uuid(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.json_to_uuid(value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_array_to_json(value double precision[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_array_to_number(value double precision[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_array_to_text_array(value double precision[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_to_boolean(value double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_to_json(value double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_to_number_array(value double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.number_to_text(value double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_array_to_json(value text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_array_to_number_array(value text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_array_to_text(value text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_boolean(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_json(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_number(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.text_to_text_array(value text) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.timestamp_to_date(value timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.timestamp_to_text(value timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.timestamp_to_json(value timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.touch() FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.uuid_to_json(value uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_apps.uuid_to_text(value uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_audit.record() FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_audit.refuse() FROM PUBLIC;
REVOKE ALL ON FUNCTION caudex_audit.shrunk(whole jsonb) FROM PUBLIC;
REVOKE ALL ON TABLE caudex_audit.log FROM current_user;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE caudex_audit.log TO current_user;
REVOKE ALL ON TABLE caudex_audit.log_2026_11 FROM current_user;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE caudex_audit.log_2026_11 TO current_user;
REVOKE ALL ON TABLE caudex_audit.log_2026_12 FROM current_user;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE caudex_audit.log_2026_12 TO current_user;
REVOKE ALL ON TABLE caudex_audit.log_2027_01 FROM current_user;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE caudex_audit.log_2027_01 TO current_user;
REVOKE ALL ON TABLE caudex_audit.log_default FROM current_user;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE caudex_audit.log_default TO current_user;
