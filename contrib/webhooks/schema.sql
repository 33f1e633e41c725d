-- The schema caudex_webhooks as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The webhooks of apps.
create table caudex_webhooks.hooks (
    id uuid not null default gen_random_uuid(),  -- Its deliveries name it.
    app_id text not null,  -- The app.
    name text not null,  -- Unique in the app.
    url text not null,  -- Where deliveries are sent; `$secret:NAME` is the value of a secret of the app.
    entity text not null,  -- The entity whose records it is about.
    events text[] not null,  -- The events that are sent: enter, change, leave.
    conditions jsonb,  -- The where-tree of records in scope; null for all.
    fields text[],  -- The fields that are sent; null for all.
    role text,  -- The role whose rights decide what is sent; null reads everything.
    enabled boolean not null,  -- Whether events are queued and sent.
    reason text,  -- Why the server disabled it.
    declared boolean not null,  -- Whether the manifest declares it.
    -- The position of the trail up to which events are queued: it moves in the transaction that queues them.
    position text,
    begins text,  -- The first position: a replay goes back to it where the trail has no older one of its app.
    failing_since timestamptz,  -- The first failure since something was delivered.
    created_at timestamptz not null default now(),  -- When it was made.
    updated_at timestamptz not null default now(),  -- When it was changed last.
    primary key (id),
    unique (app_id, name),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- The secrets in the vault that sign deliveries. The row comes before the secret and goes after it, so no secret is
-- left behind.
create table caudex_webhooks.signing_keys (
    app_id text not null,  -- The app whose scope of the vault has it.
    key text not null,  -- Its name in the vault.
    hook_id uuid not null,  -- The webhook.
    -- What it is for.
    --    new ---> current ---> old
    -- A new one signs nothing yet: its webhook is being made, or it is being rotated. A current one signs; an old one
    -- signs
    -- beside it until its time is over.
    state text not null,
    until timestamptz,  -- When the secret is deleted from the vault; null for a current one.
    primary key (app_id, key),
    check ((state = any (array['new', 'current', 'old']))),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index signing_keys_of_hook on caudex_webhooks.signing_keys (hook_id);
create index signing_keys_ending on caudex_webhooks.signing_keys (until) where (until is not null);

-- The apps whose manifests have been read.
create table caudex_webhooks.sections (
    app_id text not null,  -- The app.
    stamp bigint not null,  -- The stamp of the manifest that was read: an older one never overwrites a newer one.
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- Events on their way to receivers, and those that have ended.
create table caudex_webhooks.deliveries (
    -- The header `webhook-id`: made of the webhook and the change, so that an event that is queued again has the same.
    id text not null,
    hook_id uuid not null,  -- The webhook.
    -- The id of the change in the trail. Deliveries of one record are sent one after the other in this order.
    place bigint not null,
    event text not null,  -- What the change was for the scope of the webhook.
    entity text not null,  -- The entity.
    record text not null,  -- The id of the record.
    body text not null,  -- The body that is sent, byte for byte in each attempt while the webhook may send the same.
    -- Where it is in its life.
    --    pending --- a receiver answers 2xx --------> delivered
    --       |                                            |
    --       |------- the last attempt failed ----> failed|
    --       ^                                        |   |
    --       '------ retry or replay ----------------'---'
    state text not null default 'pending',
    -- How often it began again, by a retry or a replay: what an attempt of before ends with does not count.
    run integer not null default 0,
    attempts integer not null default 0,  -- Attempts of this run so far.
    status integer,  -- The status of the last reply.
    error text,  -- Why the last attempt failed.
    at timestamptz not null,  -- When the record was changed.
    -- The time of the next attempt; null for one that waits for an earlier one of its record, and for one that has
    -- ended.
    next_at timestamptz,
    ended_at timestamptz,  -- When it was delivered or failed.
    -- Names the rights, fields and conditions that the body was made with. A body of another basis than that of now is
    -- made again before it is sent.
    basis text,
    primary key (id),
    check ((event = any (array['enter', 'change', 'leave']))),
    check ((state = any (array['pending', 'delivered', 'failed']))),
    foreign key (hook_id) references caudex_webhooks.hooks(id) on delete cascade
);
create index deliveries_listed on caudex_webhooks.deliveries (hook_id, place);
create index deliveries_due on caudex_webhooks.deliveries (hook_id, next_at, place) where ((state = 'pending')
    and (next_at is not null));
create index deliveries_of_record on caudex_webhooks.deliveries (hook_id, entity, record, place)
    where (state = 'pending');
create index deliveries_ended on caudex_webhooks.deliveries (ended_at) where (ended_at is not null);

-- A webhook as REST shows it.
create function caudex_webhooks.shown(h caudex_webhooks.hooks)
 returns json
 language sql
 stable
as $$
    select row_to_json(s) from (
        select h.id, h.name, h.url, h.entity, h.events as "on", h.conditions as "where",
            h.fields, h.role as "as", h.enabled, h.reason,
            to_char(h.failing_since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                as failing_since,
            to_char(h.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                as created_at,
            to_char(h.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                as updated_at
    ) as s
$$;

-- Stores the end of an attempt, and lets the next delivery of its record go. It locks the webhook first, and each
-- statement after that sees what was queued until then: a delivery that is queued meanwhile is not overlooked.
create function caudex_webhooks.settle(hook uuid, delivery text, in_run integer, becomes text, answer integer, problem text, wait double precision)
 returns boolean
 language plpgsql
as $$
declare
    of caudex_webhooks.deliveries;
begin
    perform from caudex_webhooks.hooks where id = hook for no key update;
    update caudex_webhooks.deliveries
    set attempts = attempts + 1, state = becomes, status = answer, error = problem,
        next_at = now() + make_interval(secs => wait),
        ended_at = case when becomes <> 'pending' then now() end
    where id = delivery and state = 'pending' and run = in_run returning * into of;
    if not found then
        return false;
    end if;
    if becomes <> 'pending' then
        update caudex_webhooks.deliveries set next_at = now()
        where next_at is null and id = (
            select d.id from caudex_webhooks.deliveries as d
            where d.hook_id = hook and d.entity = of.entity and d.record = of.record
            and d.state = 'pending' order by d.place limit 1);
    end if;
    update caudex_webhooks.hooks set failing_since = case when becomes <> 'delivered' then now() end
    where id = hook and (failing_since is null) <> (becomes = 'delivered');
    return true;
end
$$;

-- A delivery as REST shows it.
create function caudex_webhooks.shown_delivery(d caudex_webhooks.deliveries)
 returns json
 language sql
 stable
as $$
    select row_to_json(s) from (
        select d.id, d.event, d.entity, d.record, d.state, d.attempts, d.status, d.error,
            to_char(d.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
            to_char(d.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as next_at
    ) as s
$$;
