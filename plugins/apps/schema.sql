-- The schema caudex_apps as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- What is installed.
create table caudex_apps.apps (
    id text not null,  -- The app; its tables are in the schema of this name.
    name text not null,  -- What pages show.
    version text not null,  -- The version in the manifest.
    manifest json not null,  -- The manifest as it was sent.
    model json not null,  -- What became of it: entities with their fields and unique keys.
    -- Grows with each install: what is compiled for one state of an app is good for that stamp only.
    stamp bigint not null,
    installed_by uuid,  -- The user that installed it first.
    installed_at timestamptz not null default now(),  -- The first install.
    updated_at timestamptz not null default now(),  -- The last install.
    -- `files` where the app was deployed from a folder: its manifest is not edited here until an admin says otherwise.
    -- Null for others.
    managed_by text,
    primary key (id),
    check ((managed_by = 'files')),
    foreign key (id) references caudex_kernel.apps(app_id) on delete cascade
);

-- The stamps of all apps.
create sequence caudex_apps.stamps;

-- What an install made in an app's schema, and what is retired. A table that is not here was added by hand and is left
-- alone.
create table caudex_apps.entities (
    app_id text not null,  -- The app.
    name text not null,  -- The entity, and its table.
    -- When it left the manifest; its data stays until an admin prunes it.
    --    in the manifest --- an install without it ---> retired --- prune ---> dropped
    --          ^                                           |
    --          '------------- an install with it ----------'
    retired_at timestamptz,
    primary key (app_id, name),
    foreign key (app_id) references caudex_apps.apps(id) on delete cascade
);

-- The same for columns.
create table caudex_apps.columns (
    app_id text not null,  -- The app.
    entity text not null,  -- The entity.
    name text not null,  -- The field, and its column.
    retired_at timestamptz,  -- When it left the manifest; as for entities.
    primary key (app_id, entity, name),
    foreign key (app_id, entity) references caudex_apps.entities(app_id, name) on delete cascade
);

-- What was installed when, so that the changes of an app can be seen.
create table caudex_apps.manifests (
    app_id text not null,  -- The app.
    stamp bigint not null,  -- The stamp of that install.
    version text not null,  -- The version in the manifest.
    manifest json not null,  -- The manifest as it was sent.
    installed_by uuid,  -- The user.
    installed_at timestamptz not null default now(),  -- The install.
    -- What installed it: install (the whole manifest), deploy (from a folder), edit (operations), undo.
    via text not null default 'install',
    changes json not null default '[]'::json,  -- What that changed in the tables, as a plan shows it.
    primary key (app_id, stamp),
    foreign key (app_id) references caudex_apps.apps(id) on delete cascade
);

create text search configuration caudex_apps.<language>
    (copy = pg_catalog.<language>);  -- one for each language of PostgreSQL

-- A trigger of entity tables: it sets `updated_at`.
create function caudex_apps.touch()
 returns trigger
 language plpgsql
 set search_path to ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

-- A number as a float, or null where digits would be lost. This and the functions below say how a column changes its
-- type. Each returns the value in the new type when nothing of it is lost, and null when it does not convert; null in,
-- null out.
create function caudex_apps.exact(value numeric)
 returns double precision
 language plpgsql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
as $$
declare
    near double precision;
begin
    near := value;
    return case when near::text::numeric = value then near end;
exception when data_exception then
    return null;
end
$$;

create function caudex_apps.text_to_timestamp(value text)
 returns timestamptz
 language plpgsql
 immutable parallel safe strict
 set search_path to ''
 set "TimeZone" to 'UTC'
 set "DateStyle" to 'ISO'
as $$
begin
    return case when value ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}'
        || '(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?$')
        then value::timestamptz end;
exception when data_exception then
    return null;
end
$$;

-- Called by text_to_json, whose settings hold here too: setting them for each level would cost most.
create function caudex_apps.json_repeats_key(value json)
 returns boolean
 language plpgsql
 immutable parallel safe strict
as $$
begin
    if json_typeof(value) = 'array' then
        return exists (select from json_array_elements(value) as m
            where json_typeof(m.value) in ('object', 'array') and caudex_apps.json_repeats_key(m.value));
    end if;
    return (select count(*) <> count(distinct key) from json_object_keys(value) as key)
        or exists (select from json_each(value) as m
            where json_typeof(m.value) in ('object', 'array') and caudex_apps.json_repeats_key(m.value));
end
$$;

-- jsonb would keep the last of a repeated key only; a bare null would become no value at all.
create function caudex_apps.text_to_json(value text)
 returns jsonb
 language plpgsql
 immutable parallel safe strict
 set search_path to ''
as $$
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
end
$$;

-- Leading zeros mean something in codes and phone numbers, so such text is no number.
create function caudex_apps.text_to_number(value text)
 returns double precision
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((length(value) <= 400) and (value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?$'))
    then caudex_apps.exact((value)::numeric) else null::double precision end;

create function caudex_apps.text_to_date(value text)
 returns date
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$')
    then ((caudex_apps.text_to_timestamp(value) at time zone 'UTC'))::date else null::date end;

create function caudex_apps.text_to_boolean(value text)
 returns boolean
 language sql
 immutable parallel safe strict
 set search_path to ''
return case lower(value) when 'true' then true when 'false' then false else null::boolean end;

create function caudex_apps.text_to_uuid(value text)
 returns uuid
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') then (value)::uuid else null::uuid end;

create function caudex_apps.text_to_text_array(value text)
 returns text[]
 language sql
 immutable parallel safe strict
 set search_path to ''
return array[value];

create function caudex_apps.number_to_text(value double precision)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case when ((value = (0)::double precision) or ((abs(value) >= (0.0000001)::double precision)
    and (abs(value) < ('1000000000000000000000'::numeric)::double precision)))
    then (trim_scale(((value)::text)::numeric))::text else (value)::text end;

create function caudex_apps.number_to_boolean(value double precision)
 returns boolean
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case value when 1 then true when 0 then false else null::boolean end;

create function caudex_apps.number_to_json(value double precision)
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case
    when (value <> all (array['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision]))
    then to_jsonb(value) else null::jsonb end;

create function caudex_apps.number_to_number_array(value double precision)
 returns double precision[]
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return array[value];

create function caudex_apps.boolean_to_text(value boolean)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when value then 'true' else 'false' end;

create function caudex_apps.boolean_to_number(value boolean)
 returns double precision
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when value then 1 else 0 end;

create function caudex_apps.boolean_to_json(value boolean)
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
return to_jsonb(value);

create function caudex_apps.date_to_text(value date)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((value >= '0001-01-01'::date) and (value <= '9999-12-31'::date))
    then to_char((value)::timestamptz, 'YYYY-MM-DD') else null::text end;

create function caudex_apps.date_to_timestamp(value date)
 returns timestamptz
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((value >= '0001-01-01'::date) and (value <= '9999-12-31'::date))
    then ((value)::timestamp without time zone at time zone 'UTC') else null::timestamptz end;

create function caudex_apps.date_to_json(value date)
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
return to_jsonb(caudex_apps.date_to_text(value));

create function caudex_apps.timestamp_to_text(value timestamptz)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (((value at time zone 'UTC') >= '0001-01-01 00:00:00'::timestamp without time zone)
    and ((value at time zone 'UTC') <= '9999-12-31 23:59:59.999999'::timestamp without time zone))
    then ((to_jsonb((value at time zone 'UTC')) #>> '{}'::text[]) || 'Z') else null::text end;

create function caudex_apps.timestamp_to_date(value timestamptz)
 returns date
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((((value at time zone 'UTC'))::date)::timestamp without time zone = (value at time zone 'UTC'))
    then ((value at time zone 'UTC'))::date else null::date end;

create function caudex_apps.timestamp_to_json(value timestamptz)
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
return to_jsonb(caudex_apps.timestamp_to_text(value));

create function caudex_apps.json_to_text(value jsonb)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (jsonb_typeof(value) <> 'null') then (value)::text else null::text end;

create function caudex_apps.json_to_number(value jsonb)
 returns double precision
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (jsonb_typeof(value) = 'number') then caudex_apps.exact((value)::numeric)
    else null::double precision end;

create function caudex_apps.json_to_boolean(value jsonb)
 returns boolean
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (jsonb_typeof(value) = 'boolean') then (value)::boolean else null::boolean end;

create function caudex_apps.json_to_date(value jsonb)
 returns date
 language sql
 immutable parallel safe strict
 set search_path to ''
return caudex_apps.text_to_date((value #>> '{}'::text[]));

create function caudex_apps.json_to_timestamp(value jsonb)
 returns timestamptz
 language sql
 immutable parallel safe strict
 set search_path to ''
return caudex_apps.text_to_timestamp((value #>> '{}'::text[]));

create function caudex_apps.json_to_uuid(value jsonb)
 returns uuid
 language sql
 immutable parallel safe strict
 set search_path to ''
return caudex_apps.text_to_uuid((value #>> '{}'::text[]));

create function caudex_apps.json_to_text_array(value jsonb)
 returns text[]
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (jsonb_typeof(value) = 'array') then case when (not (exists (select
    from jsonb_array_elements(json_to_text_array.value) m(value)
    where (jsonb_typeof(m.value) <> all (array['string', 'null']))))) then array(select m.value
    from jsonb_array_elements_text(json_to_text_array.value) with ordinality m(value, place) order by m.place)
    else null::text[] end else null::text[] end;

create function caudex_apps.json_to_number_array(value jsonb)
 returns double precision[]
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when (jsonb_typeof(value) = 'array') then case when (not (exists (select
    from jsonb_array_elements(json_to_number_array.value) m(value) where ((jsonb_typeof(m.value) <> 'null')
    and (caudex_apps.json_to_number(m.value) is null)))))
    then array(select caudex_apps.json_to_number(m.value) as json_to_number
    from jsonb_array_elements(json_to_number_array.value) with ordinality m(value, place) order by m.place)
    else null::double precision[] end else null::double precision[] end;

create function caudex_apps.uuid_to_text(value uuid)
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return (value)::text;

create function caudex_apps.uuid_to_json(value uuid)
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
return to_jsonb((value)::text);

create function caudex_apps.text_array_to_text(value text[])
 returns text
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((array_ndims(value) = 1) and (cardinality(value) = 1)) then (value)[array_lower(value, 1)]
    else null::text end;

create function caudex_apps.text_array_to_number_array(value text[])
 returns double precision[]
 language sql
 immutable parallel safe strict
 set search_path to ''
return case when ((coalesce(array_ndims(value), 1) = 1) and (not (exists (select
    from unnest(text_array_to_number_array.value) m(m) where ((m.m is not null)
    and (caudex_apps.text_to_number(m.m) is null))))))
    then array(select caudex_apps.text_to_number(m.value) as text_to_number
    from unnest(text_array_to_number_array.value) with ordinality m(value, place) order by m.place)
    else null::double precision[] end;

create function caudex_apps.text_array_to_json(value text[])
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
return to_jsonb(value);

create function caudex_apps.number_array_to_number(value double precision[])
 returns double precision
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case when ((array_ndims(value) = 1) and (cardinality(value) = 1)) then (value)[array_lower(value, 1)]
    else null::double precision end;

create function caudex_apps.number_array_to_text_array(value double precision[])
 returns text[]
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case when (coalesce(array_ndims(value), 1) = 1)
    then array(select caudex_apps.number_to_text(m.value) as number_to_text
    from unnest(number_array_to_text_array.value) with ordinality m(value, place) order by m.place)
    else null::text[] end;

create function caudex_apps.number_array_to_json(value double precision[])
 returns jsonb
 language sql
 immutable parallel safe strict
 set search_path to ''
 set extra_float_digits to '1'
return case when (not (exists (select from unnest(number_array_to_json.value) m(m)
    where (m.m = any (array['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision])))))
    then to_jsonb(value) else null::jsonb end;

revoke execute on all functions in schema caudex_apps from public;
