-- Called where the plugin is switched off or on. While it is off no login of an app opens a session; a start of the
-- app's worker opens its login again.
create function caudex_app_logins.switched(enabled boolean, since timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    login name;
begin
    for login in
        select r.rolname from pg_database as d join pg_roles as r on r.rolname ~ format('^caudex_%s_w[0-9]+$', d.oid)
        where d.datname = current_database() and r.rolcanlogin and not enabled
    loop
        execute format('alter role %I nologin', login);
        perform pg_terminate_backend(pid) from pg_stat_activity where usename = login;
    end loop;
end $$;
revoke execute on function caudex_app_logins.switched(boolean, timestamptz) from public;
-- Called before the plugin's tables are dropped.
create function caudex_app_logins.purged() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    login name;
begin
    for login in
        select r.rolname from pg_database as d join pg_roles as r on r.rolname ~ format('^caudex_%s_w[0-9]+$', d.oid)
        where d.datname = current_database()
    loop
        execute format('drop owned by %I', login);
        execute format('drop role %I', login);
    end loop;
end $$;
revoke execute on function caudex_app_logins.purged() from public;
