-- Keys of requests that must act once, with their replies. A key is inserted in the transaction of the request that it
-- belongs to, so that it is there exactly if the request has acted; a second request waits for the first at this row.
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
