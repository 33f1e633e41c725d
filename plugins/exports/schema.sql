-- The schema caudex_exports as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Links to exports. Each reads with the rights that its maker has at that moment.
create table caudex_exports.links (
    id uuid not null default gen_random_uuid(),  -- Part of its address.
    app_id text collate "C" not null,  -- The app; its links go with it.
    entity text collate "C" not null,  -- The entity whose records it shows.
    name text not null,  -- What lists show, as the name of the view.
    format text not null,  -- csv or ndjson.
    raw boolean not null,  -- Whether texts that are formulas stay as they are.
    -- Members of the body of POST …/query: a copy of the view, so no other user changes what the link shows.
    query jsonb not null,
    user_id uuid not null,  -- Who made it, and whose rights it has.
    username text not null,  -- The name of that user, for the log and the trail.
    limits jsonb,  -- Those of the API key that it was made with; it ends with the key.
    created_at timestamptz not null default now(),  -- When it was made.
    expires_at timestamptz,  -- When it ends; null until it is revoked.
    last_used_at timestamptz,  -- When it was opened last, exact to a minute.
    primary key (id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index links_of_app on caudex_exports.links (app_id, created_at);
create index links_of_user on caudex_exports.links (user_id);

-- What all servers of the database share; one row.
create table caudex_exports.signing (
    is_only boolean not null default true,  -- Always true, so that there is one row.
    key text not null,  -- The key that links are signed with, 32 random bytes in hex.
    primary key (is_only),
    check (is_only)
);
