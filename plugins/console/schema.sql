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

-- Views of a table, and dashboards of an app.
create table caudex_console.views (
    id uuid not null default gen_random_uuid(),  -- Part of its address.
    app_id text collate "C" not null,  -- The app.
    entity text collate "C",  -- The entity; null for a dashboard.
    name text not null,  -- What the page shows.
    -- For all holders of this role; null for the owner alone, or of a declared view for every user of the app.
    role text,
    owner_id uuid,  -- Who saved it; null where the manifest declares it.
    -- Layout, filter, order and columns, as the address of the page has them; of a dashboard its tiles.
    state jsonb not null,
    created_at timestamptz not null default now(),  -- When it was saved.
    version integer not null default 1,  -- Counts changes; its entity tag.
    install_stamp bigint,  -- The install whose manifest declares it; null for what a user saved.
    primary key (id),
    check (((owner_id is null) = (install_stamp is not null))),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index views_of_table on caudex_console.views (app_id, entity);
create unique index declared_views on caudex_console.views (app_id, ((entity is null)), name)
    where (install_stamp is not null);
