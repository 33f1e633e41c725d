create table caudex_app_logins.readers (
    name text collate "C" primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    number bigint not null unique,
    views boolean not null,
    created_at timestamptz not null default now()
);
create index readers_app on caudex_app_logins.readers (app_id);

create or replace function caudex_app_logins.switched(enabled boolean, since timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    login name;
begin
    for login in
        select r.rolname from pg_database as d
        join pg_roles as r on r.rolname ~ format('^caudex_%s_[qrw][0-9]+$', d.oid)
        where d.datname = current_database() and r.rolcanlogin and not enabled
    loop
        execute format('alter role %I nologin', login);
        perform pg_terminate_backend(pid) from pg_stat_activity where usename = login;
    end loop;
    for login in
        select r.rolname from pg_database as d
        join pg_roles as r on r.rolname ~ format('^caudex_%s_r[0-9]+$', d.oid)
        where d.datname = current_database() and not r.rolcanlogin and enabled
            and shobj_description(r.oid, 'pg_authid') is null
            and substring(r.rolname from '[0-9]+$')::bigint in (select number from caudex_app_logins.readers)
    loop
        execute format('alter role %I login', login);
    end loop;
end $$;

create or replace function caudex_app_logins.purged() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    login name;
begin
    for login in
        select r.rolname from pg_database as d
        join pg_roles as r on r.rolname ~ format('^caudex_%s_[qrw][0-9]+$', d.oid)
        where d.datname = current_database()
    loop
        execute format('drop owned by %I', login);
        execute format('drop role %I', login);
    end loop;
end $$;

comment on table caudex_app_logins.readers is
'Logins for BI tools, that read the tables of one app. Their passwords are nowhere but in the roles.';
comment on column caudex_app_logins.readers.name is 'What the operator calls it.';
comment on column caudex_app_logins.readers.app_id is 'The app whose tables it reads.';
comment on column caudex_app_logins.readers.number is
'Part of the name of the role, from the sequence of `logins.number`. A restored row has no role until it is renewed.';
comment on column caudex_app_logins.readers.views is
'True: it sees views in a schema of its own, `caudex_read_<name>`. False: it sees columns of the tables.';
comment on column caudex_app_logins.readers.created_at is 'When it was made.';
comment on function caudex_app_logins.switched is
'Called where the plugin is switched off or on. While it is off no login of an app opens a session; a start of the '
'app''s worker opens its login again, and readers are open as soon as the plugin is on.';
