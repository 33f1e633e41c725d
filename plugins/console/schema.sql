-- The schema caudex_console as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- How this server differs from others on the same host.
create table caudex_console.instance (
    only_row boolean not null default true,  -- Always true: there is one row.
    -- Part of the name of the session cookie: two servers on one host keep their cookies apart.
    id text not null default substr(md5((gen_random_uuid())::text), 1, 12),
    primary key (only_row),
    check (only_row)
);

-- What the console remembers for a user.
create table caudex_console.settings (
    user_id uuid not null,  -- The user.
    key text collate "C" not null,  -- The theme, or the columns of a table.
    value jsonb not null,  -- As the page sent it.
    primary key (user_id, key)
);

-- Saved views of a table.
create table caudex_console.views (
    id uuid not null default gen_random_uuid(),  -- Part of its address.
    app_id text collate "C" not null,  -- The app.
    entity text collate "C" not null,  -- The entity.
    name text not null,  -- What the page shows.
    role text,  -- For all holders of this role; null for the owner alone.
    owner_id uuid not null,  -- Who saved it.
    state jsonb not null,  -- Filter, order and columns, as the page sent them.
    created_at timestamptz not null default now(),  -- When it was saved.
    primary key (id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index views_of_table on caudex_console.views (app_id, entity);
