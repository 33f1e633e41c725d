-- The schema caudex_idempotency as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Keys of requests that must act once, with their replies. A key is inserted in the transaction of the request that it
-- belongs to, so that it is there exactly if the request has acted; a second request waits for the first at this row.
create table caudex_idempotency.keys (
    user_id uuid not null,  -- Whose key it is.
    route text not null,  -- The route that it was sent to.
    key text not null,  -- What the client sent as `Idempotency-Key`.
    body bytea not null,  -- The hash of the request: the same key with another body is refused.
    -- The rights of the caller then: where those on the records of the reply have changed, it is not repeated.
    rights text not null,
    created_at timestamptz not null default now(),  -- A key is forgotten after 24 hours.
    status integer,  -- The status of the reply; null where the reply was not kept.
    headers json,  -- The headers of the reply.
    reply text,  -- The body of the reply.
    primary key (user_id, route, key)
);
create index keys_by_age on caudex_idempotency.keys (created_at);
