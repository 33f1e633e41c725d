-- The nonce of the setup token, until the first account exists; at most one row.
create table caudex_auth.setup (
    single boolean primary key default true check (single),
    nonce uuid not null
);
-- A password that an admin has set must be changed before anything else.
alter table caudex_auth.users add column password_temporary boolean not null default false;
-- A session without a password, which another plugin began: that one is responsible for a second factor.
alter table caudex_auth.sessions add column external boolean not null default false;
-- The secrets of time-based codes, sealed with a key that is derived from the signing key. `last_step` is the time step
-- (30 s) of the newest code that was used: a code works once. Without `confirmed_at` the setup is not finished.
create table caudex_auth.totp (
    user_id uuid primary key references caudex_auth.users (id) on delete cascade,
    sealed text not null,
    confirmed_at timestamptz,
    last_step bigint not null default 0
);
create table caudex_auth.recovery_codes (
    user_id uuid not null references caudex_auth.totp on delete cascade,
    code_hash text not null,
    primary key (user_id, code_hash)
);
-- A network of IPv4 clients is a /24 now, no single address.
with old as (
    delete from caudex_auth.networks where network ~ '^[0-9]+(\.[0-9]+){3}$' returning *
)
insert into caudex_auth.networks (user_id, network, seen_at)
select user_id, network(set_masklen(network::inet, 24))::text, max(seen_at) from old group by 1, 2;
