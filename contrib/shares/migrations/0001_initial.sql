create table caudex_shares.shares (
    id uuid primary key default gen_random_uuid(),
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    name text not null,
    entity text collate "C",
    record_id text,
    query jsonb not null,
    context jsonb not null,
    token_hash text collate "C" not null unique,
    token_prefix text not null,
    user_id uuid not null,
    username text not null,
    limits jsonb,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    last_accessed_at timestamptz,
    access_count bigint not null default 0
);
create index shares_of_app on caudex_shares.shares (app_id, created_at);
create index shares_of_user on caudex_shares.shares (user_id);
comment on table caudex_shares.shares is
'Public shares. Each reads with the rights that its maker has at that moment.';
comment on column caudex_shares.shares.id is 'Its name in routes.';
comment on column caudex_shares.shares.app_id is 'The app; its shares go with it.';
comment on column caudex_shares.shares.name is 'What lists and its page show.';
comment on column caudex_shares.shares.entity is 'The entity whose records it shows; null for none.';
comment on column caudex_shares.shares.record_id is 'The only record that it shows; null for a list.';
comment on column caudex_shares.shares.query is
'Members of the body of POST …/query, with the fields that are shown: a copy of the view.';
comment on column caudex_shares.shares.context is 'What the app wants to know of the share.';
comment on column caudex_shares.shares.token_hash is 'The SHA-256 of its token, in hex; the token is kept nowhere.';
comment on column caudex_shares.shares.token_prefix is 'What the token begins with, for lists.';
comment on column caudex_shares.shares.user_id is 'Who made it, and whose rights it has.';
comment on column caudex_shares.shares.username is 'The name of that user, for the log and the trail.';
comment on column caudex_shares.shares.limits is 'Those of the API key that it was made with; it ends with the key.';
comment on column caudex_shares.shares.created_at is 'When it was made.';
comment on column caudex_shares.shares.expires_at is 'When it ends.';
comment on column caudex_shares.shares.last_accessed_at is 'When it was opened last.';
comment on column caudex_shares.shares.access_count is 'How often it was opened.';

create function caudex_shares.shown(s caudex_shares.shares) returns json
language sql stable as $$
    select json_build_object(
        'id', s.id, 'app_id', s.app_id, 'name', s.name, 'entity', s.entity,
        'record_id', s.record_id, 'query', s.query, 'context', s.context,
        'token_prefix', s.token_prefix, 'user_id', s.user_id, 'username', s.username,
        'limits', s.limits, 'created_at', s.created_at, 'expires', s.expires_at,
        'last_accessed_at', s.last_accessed_at, 'access_count', s.access_count)
$$;
comment on function caudex_shares.shown(caudex_shares.shares) is
'Writes a share as the plugin reads it.';
