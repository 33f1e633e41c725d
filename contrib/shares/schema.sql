-- The schema caudex_shares as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Public shares. Each reads with the rights that its maker has at that moment.
create table caudex_shares.shares (
    id uuid not null default gen_random_uuid(),  -- Its name in routes.
    app_id text collate "C" not null,  -- The app; its shares go with it.
    name text not null,  -- What lists and its page show.
    entity text collate "C",  -- The entity whose records it shows; null for none.
    record_id text,  -- The only record that it shows; null for a list.
    query jsonb not null,  -- Members of the body of POST …/query, with the fields that are shown: a copy of the view.
    context jsonb not null,  -- What the app wants to know of the share.
    token_hash text collate "C" not null,  -- The SHA-256 of its token, in hex; the token is kept nowhere.
    token_prefix text not null,  -- What the token begins with, for lists.
    user_id uuid not null,  -- Who made it, and whose rights it has.
    username text not null,  -- The name of that user, for the log and the trail.
    limits jsonb,  -- Those of the API key that it was made with; it ends with the key.
    created_at timestamptz not null default now(),  -- When it was made.
    expires_at timestamptz not null,  -- When it ends.
    last_accessed_at timestamptz,  -- When it was opened last.
    access_count bigint not null default 0,  -- How often it was opened.
    primary key (id),
    unique (token_hash),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index shares_of_app on caudex_shares.shares (app_id, created_at);
create index shares_of_user on caudex_shares.shares (user_id);

-- Writes a share as the plugin reads it.
create function caudex_shares.shown(s caudex_shares.shares)
 returns json
 language sql
 stable
as $$
    select json_build_object(
        'id', s.id, 'app_id', s.app_id, 'name', s.name, 'entity', s.entity,
        'record_id', s.record_id, 'query', s.query, 'context', s.context,
        'token_prefix', s.token_prefix, 'user_id', s.user_id, 'username', s.username,
        'limits', s.limits, 'created_at', s.created_at, 'expires', s.expires_at,
        'last_accessed_at', s.last_accessed_at, 'access_count', s.access_count)
$$;
