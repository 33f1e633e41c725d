-- replaces: 0001_schema.sql 0002_search.sql 0003_manifests.sql (0004_unique_keys.sql)
create table caudex_apps.apps (
    id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    name text not null,
    version text not null,
    manifest json not null,
    model json not null,
    stamp bigint not null,
    installed_by uuid,
    installed_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create sequence caudex_apps.stamps;

create table caudex_apps.entities (
    app_id text not null references caudex_apps.apps on delete cascade,
    name text not null,
    retired_at timestamptz,
    primary key (app_id, name)
);

create table caudex_apps.columns (
    app_id text not null,
    entity text not null,
    name text not null,
    retired_at timestamptz,
    primary key (app_id, entity, name),
    foreign key (app_id, entity) references caudex_apps.entities on delete cascade
);

create table caudex_apps.manifests (
    app_id text not null references caudex_apps.apps on delete cascade,
    stamp bigint not null,
    version text not null,
    manifest json not null,
    installed_by uuid,
    installed_at timestamptz not null default now(),
    primary key (app_id, stamp)
);

create function caudex_apps.touch() returns trigger language plpgsql set search_path = '' as $$
begin
    new.updated_at := now();
    return new;
end $$;

create function caudex_apps.exact(value numeric) returns double precision
language plpgsql immutable strict parallel safe set search_path = '' set extra_float_digits = 1 as $$
declare
    near double precision;
begin
    near := value;
    return case when near::text::numeric = value then near end;
exception when data_exception then
    return null;
end $$;

create function caudex_apps.text_to_timestamp(value text) returns timestamptz
language plpgsql immutable strict parallel safe
set search_path = '' set timezone = 'UTC' set datestyle = 'ISO' as $$
begin
    return case when value ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}'
        || '(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?$')
        then value::timestamptz end;
exception when data_exception then
    return null;
end $$;

create function caudex_apps.json_repeats_key(value json) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    if json_typeof(value) = 'array' then
        return exists (select from json_array_elements(value) as m
            where json_typeof(m.value) in ('object', 'array') and caudex_apps.json_repeats_key(m.value));
    end if;
    return (select count(*) <> count(distinct key) from json_object_keys(value) as key)
        or exists (select from json_each(value) as m
            where json_typeof(m.value) in ('object', 'array') and caudex_apps.json_repeats_key(m.value));
end $$;

create function caudex_apps.text_to_json(value text) returns jsonb
language plpgsql immutable strict parallel safe set search_path = '' as $$
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

do $do$
declare
    made record;
begin
    for made in select * from (values
        ('text_to_number', 'text', 'double precision', $$case when length(value) <= 400
            and value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?$'
            then caudex_apps.exact(value::numeric) end$$),
        ('text_to_date', 'text', 'date', $$case when value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
            then (caudex_apps.text_to_timestamp(value) at time zone 'UTC')::date end$$),
        ('text_to_boolean', 'text', 'boolean',
            $$case lower(value) when 'true' then true when 'false' then false end$$),
        ('text_to_uuid', 'text', 'uuid', $$case when value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            then value::uuid end$$),
        ('text_to_text_array', 'text', 'text[]', 'array[value]'),
        ('number_to_text', 'double precision', 'text', $$case
            when value = 0 or (abs(value) >= 1e-7 and abs(value) < 1e21) then trim_scale(value::text::numeric)::text
            else value::text end$$),
        ('number_to_boolean', 'double precision', 'boolean', 'case value when 1 then true when 0 then false end'),
        ('number_to_json', 'double precision', 'jsonb', $$case when value not in ('NaN', 'Infinity', '-Infinity')
            then to_jsonb(value) end$$),
        ('number_to_number_array', 'double precision', 'double precision[]', 'array[value]'),
        ('boolean_to_text', 'boolean', 'text', $$case when value then 'true' else 'false' end$$),
        ('boolean_to_number', 'boolean', 'double precision', 'case when value then 1 else 0 end'),
        ('boolean_to_json', 'boolean', 'jsonb', 'to_jsonb(value)'),
        ('date_to_text', 'date', 'text', $$case when value between '0001-01-01'::date and '9999-12-31'::date
            then to_char(value, 'YYYY-MM-DD') end$$),
        ('date_to_timestamp', 'date', 'timestamptz', $$case when value
            between '0001-01-01'::date and '9999-12-31'::date then value::timestamp at time zone 'UTC' end$$),
        ('date_to_json', 'date', 'jsonb', 'to_jsonb(caudex_apps.date_to_text(value))'),
        ('timestamp_to_text', 'timestamptz', 'text', $$case when value at time zone 'UTC'
            between '0001-01-01'::timestamp and '9999-12-31 23:59:59.999999'::timestamp
            then (to_jsonb(value at time zone 'UTC') #>> '{}') || 'Z' end$$),
        ('timestamp_to_date', 'timestamptz', 'date', $$case
            when (value at time zone 'UTC')::date::timestamp = value at time zone 'UTC'
            then (value at time zone 'UTC')::date end$$),
        ('timestamp_to_json', 'timestamptz', 'jsonb', 'to_jsonb(caudex_apps.timestamp_to_text(value))'),
        ('json_to_text', 'jsonb', 'text', $$case when jsonb_typeof(value) <> 'null' then value::text end$$),
        ('json_to_number', 'jsonb', 'double precision', $$case when jsonb_typeof(value) = 'number'
            then caudex_apps.exact(value::numeric) end$$),
        ('json_to_boolean', 'jsonb', 'boolean', $$case when jsonb_typeof(value) = 'boolean'
            then value::boolean end$$),
        ('json_to_date', 'jsonb', 'date', $$caudex_apps.text_to_date(value #>> '{}')$$),
        ('json_to_timestamp', 'jsonb', 'timestamptz', $$caudex_apps.text_to_timestamp(value #>> '{}')$$),
        ('json_to_uuid', 'jsonb', 'uuid', $$caudex_apps.text_to_uuid(value #>> '{}')$$),
        ('json_to_text_array', 'jsonb', 'text[]', $$case when jsonb_typeof(value) = 'array' then case
            when not exists (select from jsonb_array_elements(value) as m
            where jsonb_typeof(m) not in ('string', 'null')) then array(select m.value
            from jsonb_array_elements_text(value) with ordinality as m(value, place) order by m.place) end end$$),
        ('json_to_number_array', 'jsonb', 'double precision[]', $$case when jsonb_typeof(value) = 'array' then case
            when not exists (select from jsonb_array_elements(value) as m
            where jsonb_typeof(m) <> 'null' and caudex_apps.json_to_number(m) is null)
            then array(select caudex_apps.json_to_number(m.value)
            from jsonb_array_elements(value) with ordinality as m(value, place) order by m.place) end end$$),
        ('uuid_to_text', 'uuid', 'text', 'value::text'),
        ('uuid_to_json', 'uuid', 'jsonb', 'to_jsonb(value::text)'),
        ('text_array_to_text', 'text[]', 'text', $$case when array_ndims(value) = 1 and cardinality(value) = 1
            then value[array_lower(value, 1)] end$$),
        ('text_array_to_number_array', 'text[]', 'double precision[]', $$case
            when coalesce(array_ndims(value), 1) = 1 and not exists (select from unnest(value) as m
            where m is not null and caudex_apps.text_to_number(m) is null)
            then array(select caudex_apps.text_to_number(m.value)
            from unnest(value) with ordinality as m(value, place) order by m.place) end$$),
        ('text_array_to_json', 'text[]', 'jsonb', 'to_jsonb(value)'),
        ('number_array_to_number', 'double precision[]', 'double precision', $$case
            when array_ndims(value) = 1 and cardinality(value) = 1 then value[array_lower(value, 1)] end$$),
        ('number_array_to_text_array', 'double precision[]', 'text[]', $$case when coalesce(array_ndims(value), 1) = 1
            then array(select caudex_apps.number_to_text(m.value)
            from unnest(value) with ordinality as m(value, place) order by m.place) end$$),
        ('number_array_to_json', 'double precision[]', 'jsonb', $$case when not exists (select from unnest(value) as m
            where m in ('NaN', 'Infinity', '-Infinity')) then to_jsonb(value) end$$)
    ) as c (name, given, result, body) loop
        execute format('create function caudex_apps.%s(value %s) returns %s
            language sql immutable strict parallel safe set search_path = '''' %s return %s',
            made.name, made.given, made.result,
            case when made.given like 'double%' then 'set extra_float_digits = 1' end, made.body);
    end loop;
end $do$;
revoke execute on all functions in schema caudex_apps from public;

do $do$
declare
    wanted text;
    made record;
    filter text;
begin
    foreach wanted in array array['unaccent', 'pg_trgm'] loop
        begin
            if not exists (select from pg_extension where extname = wanted) then
                create schema if not exists caudex_extensions;
                execute format('create extension %I with schema caudex_extensions', wanted);
            end if;
        exception when insufficient_privilege or feature_not_supported or undefined_file
                or invalid_parameter_value then
            raise notice 'the extension % cannot be created: %', wanted, sqlerrm;
        end;
    end loop;
    select quote_ident(n.nspname) || '.unaccent, ' into filter from pg_ts_dict as d
        join pg_namespace as n on n.oid = d.dictnamespace where d.dictname = 'unaccent' limit 1;
    for made in select c.cfgname as name, (
            select string_agg(quote_ident(n.nspname) || '.' || quote_ident(d.dictname), ', ' order by m.mapseqno)
            from pg_ts_config_map as m join pg_ts_dict as d on d.oid = m.mapdict
            join pg_namespace as n on n.oid = d.dictnamespace
            where m.mapcfg = c.oid and m.maptokentype = (
                select tokid from ts_token_type(c.cfgparser) where alias = 'word')) as words
        from pg_ts_config as c where c.cfgnamespace = 'pg_catalog'::regnamespace loop
        execute format('create text search configuration caudex_apps.%I (copy = pg_catalog.%I)', made.name, made.name);
        if filter is not null then
            execute format('alter text search configuration caudex_apps.%I
                alter mapping for hword, hword_part, word with ', made.name) || filter || made.words;
        end if;
    end loop;
end $do$;
