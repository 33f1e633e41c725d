create table caudex_exports.links (
    id uuid primary key default gen_random_uuid(),
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    entity text collate "C" not null,
    name text not null,
    format text not null,
    raw boolean not null,
    query jsonb not null,
    user_id uuid not null,
    username text not null,
    limits jsonb,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz
);
create index links_of_app on caudex_exports.links (app_id, created_at);
create index links_of_user on caudex_exports.links (user_id);
comment on table caudex_exports.links is
'Links to exports. Each reads with the rights that its maker has at that moment.';
comment on column caudex_exports.links.id is 'Part of its address.';
comment on column caudex_exports.links.app_id is 'The app; its links go with it.';
comment on column caudex_exports.links.entity is 'The entity whose records it shows.';
comment on column caudex_exports.links.name is 'What lists show, as the name of the view.';
comment on column caudex_exports.links.format is 'csv or ndjson.';
comment on column caudex_exports.links.raw is 'Whether texts that are formulas stay as they are.';
comment on column caudex_exports.links.query is
'Members of the body of POST …/query: a copy of the view, so no other user changes what the link shows.';
comment on column caudex_exports.links.user_id is 'Who made it, and whose rights it has.';
comment on column caudex_exports.links.username is 'The name of that user, for the log and the trail.';
comment on column caudex_exports.links.limits is 'Those of the API key that it was made with; it ends with the key.';
comment on column caudex_exports.links.created_at is 'When it was made.';
comment on column caudex_exports.links.expires_at is 'When it ends; null until it is revoked.';
comment on column caudex_exports.links.last_used_at is 'When it was opened last, exact to a minute.';

create table caudex_exports.signing (
    is_only boolean primary key default true check (is_only),
    key text not null
);
comment on table caudex_exports.signing is 'What all servers of the database share; one row.';
comment on column caudex_exports.signing.is_only is 'Always true, so that there is one row.';
comment on column caudex_exports.signing.key is 'The key that links are signed with, 32 random bytes in hex.';
