-- The schema caudex_rbac as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The permission keys of apps, and of `core`, which is the server itself.
create table caudex_rbac.apps (
    app_id text not null,  -- The app, or `core`.
    entities text[] not null default '{}'::text[],  -- Its entities, each with the four permissions of records.
    permissions jsonb not null default '[]'::jsonb,  -- [{"key", "description"}] in the order of the manifest.
    -- Fields with permissions of their own: [{"entity", "field", "read", "write", "sources"}]. `read` and `write` are
    -- the roles that hold `<entity>.<field>.read` and `.write`, or null where no permission is needed.
    field_rules jsonb not null default '[]'::jsonb,
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- Roles; `admin` holds `*`.
create table caudex_rbac.roles (
    app_id text not null,  -- The app, or `core`.
    name text not null,  -- Unique in the app.
    description text,  -- What pages show.
    inherits text[] not null default '{}'::text[],  -- Roles of the same app whose permissions it has too.
    -- Keys; `*` is all of them, and the suffix `.own` means records that the caller created.
    permissions text[] not null default '{}'::text[],
    second_factor boolean not null default false,  -- It counts only in a session with a second factor.
    primary key (app_id, name),
    foreign key (app_id) references caudex_rbac.apps(app_id) on delete cascade
);

-- Who has which role. Accounts belong to the provider of IDENTITY, so nothing references them.
create table caudex_rbac.assignments (
    app_id text not null,  -- The app, or `core`.
    role text not null,  -- The role.
    user_id uuid not null,  -- The user.
    assigned_at timestamptz not null default now(),  -- When.
    primary key (app_id, role, user_id),
    foreign key (app_id, role) references caudex_rbac.roles(app_id, name) on delete cascade
);
create index assignments_by_user on caudex_rbac.assignments (user_id);

-- What workers of `app_id` may do on `target` on behalf of users that hold the same permissions there.
create table caudex_rbac.grants (
    app_id text not null,  -- The app whose worker gets the permissions.
    target text not null,  -- The app whose records they are about.
    permissions text[] not null,  -- Keys of the target.
    primary key (target, app_id),
    foreign key (app_id) references caudex_rbac.apps(app_id) on delete cascade,
    foreign key (target) references caudex_rbac.apps(app_id) on delete cascade
);
create index grants_by_app on caudex_rbac.grants (app_id);
