-- Full-text search. A configuration for each language that PostgreSQL knows, without accents where the extension
-- unaccent may be created; pg_trgm serves similar words. Both are refused on some managed servers: search works
-- without them, and `doctor` says so. They have a schema that holds nothing else: a restore cannot put aside one that
-- holds an extension. One that is there already stays where it is.
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
