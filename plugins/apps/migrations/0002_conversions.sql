-- How a column changes its type. Each function returns the value in the new type when nothing of
-- it is lost, and NULL when it does not convert; NULL in, NULL out.

create function caudex_apps.text_to_number(value text) returns double precision
language plpgsql immutable strict parallel safe
set search_path = '' set extra_float_digits = 1 as $$
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
end $$;

create function caudex_apps.text_to_boolean(value text) returns boolean
language sql immutable strict parallel safe set search_path = ''
return case lower(value) when 'true' then true when 'false' then false end;

create function caudex_apps.text_to_date(value text) returns date
language plpgsql immutable strict parallel safe
set search_path = '' set datestyle = 'ISO' as $$
begin
    return case when value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then value::date end;
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

-- Called by text_to_json, whose settings hold here too: setting them for each level would cost most.
create function caudex_apps.json_repeats_key(value json) returns boolean
language plpgsql immutable strict parallel safe as $$
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

create function caudex_apps.text_to_uuid(value text) returns uuid
language sql immutable strict parallel safe set search_path = ''
return case when value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then value::uuid end;

create function caudex_apps.text_to_text_array(value text) returns text[]
language sql immutable strict parallel safe set search_path = ''
return array[value];

create function caudex_apps.number_to_text(value double precision) returns text
language sql immutable strict parallel safe
set search_path = '' set extra_float_digits = 1
return case
    when value = 0 or (abs(value) >= 1e-7 and abs(value) < 1e21)
        then trim_scale(value::text::numeric)::text
    else value::text
end;

create function caudex_apps.number_to_boolean(value double precision) returns boolean
language sql immutable strict parallel safe set search_path = ''
return case value when 1 then true when 0 then false end;

create function caudex_apps.number_to_json(value double precision) returns jsonb
language sql immutable strict parallel safe
set search_path = '' set extra_float_digits = 1
return case when value not in ('NaN', 'Infinity', '-Infinity') then to_jsonb(value) end;

create function caudex_apps.number_to_number_array(value double precision)
returns double precision[]
language sql immutable strict parallel safe set search_path = ''
return array[value];

create function caudex_apps.boolean_to_text(value boolean) returns text
language sql immutable strict parallel safe set search_path = ''
return case when value then 'true' else 'false' end;

create function caudex_apps.boolean_to_number(value boolean) returns double precision
language sql immutable strict parallel safe set search_path = ''
return case when value then 1 else 0 end;

create function caudex_apps.boolean_to_json(value boolean) returns jsonb
language sql immutable strict parallel safe set search_path = ''
return to_jsonb(value);

create function caudex_apps.date_to_text(value date) returns text
language sql immutable strict parallel safe set search_path = ''
return case when value between '0001-01-01'::date and '9999-12-31'::date
    then to_char(value, 'YYYY-MM-DD') end;

create function caudex_apps.date_to_timestamp(value date) returns timestamptz
language sql immutable strict parallel safe set search_path = ''
return case when value between '0001-01-01'::date and '9999-12-31'::date
    then value::timestamp at time zone 'UTC' end;

create function caudex_apps.date_to_json(value date) returns jsonb
language sql immutable strict parallel safe set search_path = ''
return to_jsonb(caudex_apps.date_to_text(value));

create function caudex_apps.timestamp_to_text(value timestamptz) returns text
language sql immutable strict parallel safe set search_path = ''
return case when value at time zone 'UTC'
    between '0001-01-01'::timestamp and '9999-12-31 23:59:59.999999'::timestamp
    then (to_jsonb(value at time zone 'UTC') #>> '{}') || 'Z' end;

create function caudex_apps.timestamp_to_date(value timestamptz) returns date
language sql immutable strict parallel safe set search_path = ''
return case when (value at time zone 'UTC')::date::timestamp = value at time zone 'UTC'
    then (value at time zone 'UTC')::date end;

create function caudex_apps.timestamp_to_json(value timestamptz) returns jsonb
language sql immutable strict parallel safe set search_path = ''
return to_jsonb(caudex_apps.timestamp_to_text(value));

create function caudex_apps.json_to_text(value jsonb) returns text
language sql immutable strict parallel safe set search_path = ''
return case when jsonb_typeof(value) <> 'null' then value::text end;

create function caudex_apps.json_to_number(value jsonb) returns double precision
language plpgsql immutable strict parallel safe
set search_path = '' set extra_float_digits = 1 as $$
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

create function caudex_apps.json_to_boolean(value jsonb) returns boolean
language sql immutable strict parallel safe set search_path = ''
return case when jsonb_typeof(value) = 'boolean' then value::boolean end;

create function caudex_apps.json_to_date(value jsonb) returns date
language sql immutable strict parallel safe set search_path = ''
return case when jsonb_typeof(value) = 'string'
    then caudex_apps.text_to_date(value #>> '{}') end;

create function caudex_apps.json_to_timestamp(value jsonb) returns timestamptz
language sql immutable strict parallel safe set search_path = ''
return case when jsonb_typeof(value) = 'string'
    then caudex_apps.text_to_timestamp(value #>> '{}') end;

create function caudex_apps.json_to_uuid(value jsonb) returns uuid
language sql immutable strict parallel safe set search_path = ''
return case when jsonb_typeof(value) = 'string'
    then caudex_apps.text_to_uuid(value #>> '{}') end;

create function caudex_apps.json_to_text_array(value jsonb) returns text[]
language plpgsql immutable strict parallel safe set search_path = '' as $$
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

create function caudex_apps.json_to_number_array(value jsonb) returns double precision[]
language plpgsql immutable strict parallel safe set search_path = '' as $$
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

create function caudex_apps.uuid_to_text(value uuid) returns text
language sql immutable strict parallel safe set search_path = ''
return value::text;

create function caudex_apps.uuid_to_json(value uuid) returns jsonb
language sql immutable strict parallel safe set search_path = ''
return to_jsonb(value::text);

create function caudex_apps.text_array_to_text(value text[]) returns text
language sql immutable strict parallel safe set search_path = ''
return case when array_ndims(value) = 1 and cardinality(value) = 1
    then value[array_lower(value, 1)] end;

create function caudex_apps.text_array_to_number_array(value text[]) returns double precision[]
language plpgsql immutable strict parallel safe set search_path = '' as $$
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

create function caudex_apps.text_array_to_json(value text[]) returns jsonb
language sql immutable strict parallel safe set search_path = ''
return to_jsonb(value);

create function caudex_apps.number_array_to_number(value double precision[])
returns double precision
language sql immutable strict parallel safe set search_path = ''
return case when array_ndims(value) = 1 and cardinality(value) = 1
    then value[array_lower(value, 1)] end;

create function caudex_apps.number_array_to_text_array(value double precision[]) returns text[]
language plpgsql immutable strict parallel safe set search_path = '' as $$
begin
    if array_ndims(value) > 1 then
        return null;
    end if;
    return array(
        select caudex_apps.number_to_text(m.value)
        from unnest(value) with ordinality as m(value, place) order by m.place
    );
end $$;

create function caudex_apps.number_array_to_json(value double precision[]) returns jsonb
language sql immutable strict parallel safe
set search_path = '' set extra_float_digits = 1
return case when not exists (
    select from unnest(value) as m where m in ('NaN', 'Infinity', '-Infinity')
) then to_jsonb(value) end;

revoke execute on all functions in schema caudex_apps from public;
