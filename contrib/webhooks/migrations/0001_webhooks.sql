create table caudex_webhooks.hooks (
    id uuid primary key default gen_random_uuid(),
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    name text not null,
    url text not null,
    entity text not null,
    events text[] not null,
    conditions jsonb,
    fields text[],
    role text,
    enabled boolean not null,
    reason text,
    declared boolean not null,
    position text,
    begins text,
    failing_since timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (app_id, name)
);

create table caudex_webhooks.signing_keys (
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    key text not null,
    hook_id uuid not null,
    state text not null check (state in ('new', 'current', 'old')),
    until timestamptz,
    primary key (app_id, key)
);
create index signing_keys_of_hook on caudex_webhooks.signing_keys (hook_id);
create index signing_keys_ending on caudex_webhooks.signing_keys (until) where until is not null;

create table caudex_webhooks.sections (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    stamp bigint not null
);

create table caudex_webhooks.deliveries (
    id text primary key,
    hook_id uuid not null references caudex_webhooks.hooks on delete cascade,
    place bigint not null,
    event text not null check (event in ('enter', 'change', 'leave')),
    entity text not null,
    record text not null,
    body text not null,
    state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    run integer not null default 0,
    attempts integer not null default 0,
    status integer,
    error text,
    at timestamptz not null,
    next_at timestamptz,
    ended_at timestamptz
);
create index deliveries_listed on caudex_webhooks.deliveries (hook_id, place);
create index deliveries_due on caudex_webhooks.deliveries (hook_id, next_at, place)
where state = 'pending' and next_at is not null;
create index deliveries_of_record on caudex_webhooks.deliveries (hook_id, entity, record, place)
where state = 'pending';
create index deliveries_ended on caudex_webhooks.deliveries (ended_at) where ended_at is not null;

create function caudex_webhooks.shown(h caudex_webhooks.hooks) returns json
language sql stable as $$
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

create function caudex_webhooks.settle(
    hook uuid, delivery text, in_run integer, becomes text, answer integer, problem text, wait float8
) returns boolean language plpgsql as $$
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
end $$;

create function caudex_webhooks.shown_delivery(d caudex_webhooks.deliveries) returns json
language sql stable as $$
    select row_to_json(s) from (
        select d.id, d.event, d.entity, d.record, d.state, d.attempts, d.status, d.error,
            to_char(d.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
            to_char(d.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as next_at
    ) as s
$$;

comment on table caudex_webhooks.hooks is 'The webhooks of apps.';
comment on column caudex_webhooks.hooks.id is 'Its deliveries name it.';
comment on column caudex_webhooks.hooks.app_id is 'The app.';
comment on column caudex_webhooks.hooks.name is 'Unique in the app.';
comment on column caudex_webhooks.hooks.url is
'Where deliveries are sent; `$secret:NAME` is the value of a secret of the app.';
comment on column caudex_webhooks.hooks.entity is 'The entity whose records it is about.';
comment on column caudex_webhooks.hooks.events is 'The events that are sent: enter, change, leave.';
comment on column caudex_webhooks.hooks.conditions is 'The where-tree of records in scope; null for all.';
comment on column caudex_webhooks.hooks.fields is 'The fields that are sent; null for all.';
comment on column caudex_webhooks.hooks.role is
'The role whose rights decide what is sent; null reads everything.';
comment on column caudex_webhooks.hooks.enabled is 'Whether events are queued and sent.';
comment on column caudex_webhooks.hooks.reason is 'Why the server disabled it.';
comment on column caudex_webhooks.hooks.declared is 'Whether the manifest declares it.';
comment on column caudex_webhooks.hooks.position is
'The position of the trail up to which events are queued: it moves in the transaction that queues them.';
comment on column caudex_webhooks.hooks.begins is
'The first position: a replay goes back to it where the trail has no older one of its app.';
comment on column caudex_webhooks.hooks.failing_since is
'The first failure since something was delivered.';
comment on column caudex_webhooks.hooks.created_at is 'When it was made.';
comment on column caudex_webhooks.hooks.updated_at is 'When it was changed last.';
comment on table caudex_webhooks.signing_keys is
'The secrets in the vault that sign deliveries. The row comes before the secret and goes after it, so no secret is left behind.';
comment on column caudex_webhooks.signing_keys.app_id is 'The app whose scope of the vault has it.';
comment on column caudex_webhooks.signing_keys.key is 'Its name in the vault.';
comment on column caudex_webhooks.signing_keys.hook_id is 'The webhook.';
comment on column caudex_webhooks.signing_keys.state is
'What it is for.
   new ---> current ---> old
A new one signs nothing yet: its webhook is being made, or it is being rotated. A current one signs; an old one signs
beside it until its time is over.';
comment on column caudex_webhooks.signing_keys.until is
'When the secret is deleted from the vault; null for a current one.';
comment on table caudex_webhooks.sections is 'The apps whose manifests have been read.';
comment on column caudex_webhooks.sections.app_id is 'The app.';
comment on column caudex_webhooks.sections.stamp is
'The stamp of the manifest that was read: an older one never overwrites a newer one.';
comment on table caudex_webhooks.deliveries is 'Events on their way to receivers, and those that have ended.';
comment on column caudex_webhooks.deliveries.id is
'The header `webhook-id`: made of the webhook and the change, so that an event that is queued again has the same.';
comment on column caudex_webhooks.deliveries.hook_id is 'The webhook.';
comment on column caudex_webhooks.deliveries.place is
'The id of the change in the trail. Deliveries of one record are sent one after the other in this order.';
comment on column caudex_webhooks.deliveries.event is 'What the change was for the scope of the webhook.';
comment on column caudex_webhooks.deliveries.entity is 'The entity.';
comment on column caudex_webhooks.deliveries.record is 'The id of the record.';
comment on column caudex_webhooks.deliveries.body is 'The body that is sent, byte for byte in each attempt.';
comment on column caudex_webhooks.deliveries.state is
'Where it is in its life.
   pending --- a receiver answers 2xx --------> delivered
      |                                            |
      |------- the last attempt failed ----> failed|
      ^                                        |   |
      ''------ retry or replay ----------------''---''';
comment on column caudex_webhooks.deliveries.run is
'How often it began again, by a retry or a replay: what an attempt of before ends with does not count.';
comment on column caudex_webhooks.deliveries.attempts is 'Attempts of this run so far.';
comment on column caudex_webhooks.deliveries.status is 'The status of the last reply.';
comment on column caudex_webhooks.deliveries.error is 'Why the last attempt failed.';
comment on column caudex_webhooks.deliveries.at is 'When the record was changed.';
comment on column caudex_webhooks.deliveries.next_at is
'The time of the next attempt; null for one that waits for an earlier one of its record, and for one that has ended.';
comment on column caudex_webhooks.deliveries.ended_at is 'When it was delivered or failed.';
comment on function caudex_webhooks.shown is 'A webhook as REST shows it.';
comment on function caudex_webhooks.shown_delivery is 'A delivery as REST shows it.';
comment on function caudex_webhooks.settle is
'Stores the end of an attempt, and lets the next delivery of its record go. It locks the webhook first, and each statement '
'after that sees what was queued until then: a delivery that is queued meanwhile is not overlooked.';
