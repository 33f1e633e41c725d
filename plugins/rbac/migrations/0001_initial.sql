-- replaces: 0001_schema.sql 0002_field_rules.sql 0003_second_factor.sql 0004_grants.sql 0005_jobs_and_logs.sql
create table caudex_rbac.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    entities text[] not null default '{}',
    permissions jsonb not null default '[]',
    field_rules jsonb not null default '[]'
);

create table caudex_rbac.roles (
    app_id text not null references caudex_rbac.apps on delete cascade,
    name text not null,
    description text,
    inherits text[] not null default '{}',
    permissions text[] not null default '{}',
    second_factor boolean not null default false,
    primary key (app_id, name)
);

create table caudex_rbac.assignments (
    app_id text not null,
    role text not null,
    user_id uuid not null,
    assigned_at timestamptz not null default now(),
    primary key (app_id, role, user_id),
    foreign key (app_id, role) references caudex_rbac.roles on delete cascade
);
create index assignments_by_user on caudex_rbac.assignments (user_id);

create table caudex_rbac.grants (
    app_id text not null references caudex_rbac.apps on delete cascade,
    target text not null references caudex_rbac.apps on delete cascade,
    permissions text[] not null,
    primary key (target, app_id)
);
create index grants_by_app on caudex_rbac.grants (app_id);

insert into caudex_rbac.apps (app_id) values ('core');

insert into caudex_rbac.roles (app_id, name, description, permissions)
values ('core', 'admin', 'Administers the server and every app', '{*}');
