-- replaces: 0001_rbac.sql 0002_turns.sql 0003_births.sql
-- Permission keys, roles and assignments. Accounts belong to the plugin of IDENTITY, so nothing references them.
create table caudex_rbac.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    entities text[] not null default '{}',
    permissions jsonb not null default '[]'  -- [{key, description}] in declaration order
);
create table caudex_rbac.roles (
    app_id text not null references caudex_rbac.apps on delete cascade,
    name text not null,
    description text,
    inherits text[] not null default '{}',
    permissions text[] not null default '{}',
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
insert into caudex_rbac.apps (app_id) values ('core');
insert into caudex_rbac.roles (app_id, name, description, permissions)
values ('core', 'admin', 'Administers the server and every app', '{*}');
