-- replaces: 0001_schema.sql
create table caudex_idempotency.keys (
    user_id uuid not null,
    route text not null,
    key text not null,
    body bytea not null,
    rights text not null,
    created_at timestamptz not null default now(),
    status int,
    headers json,
    reply text,
    primary key (user_id, route, key)
);
create index keys_by_age on caudex_idempotency.keys (created_at);
