-- replaces: 0001_accounts.sql 0002_names.sql 0003_mandates.sql 0004_networks.sql
-- Names are compared by their keys, folded by the server: lower() depends on the collation of the database, and knows
-- nothing but ASCII under "C". `withdrawals` counts how often the tokens that workers have for a user were revoked:
-- by a new password, or by closing the account. A token holds the count of its time, and is valid while it is the
-- same. A count, as tokens know whole seconds only.
create table caudex_auth.users (
    id uuid primary key default gen_random_uuid(),
    username text not null,
    username_key text not null,
    email text,
    email_key text,
    display_name text,
    password_hash text not null,
    disabled boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    withdrawals integer not null default 0,
    constraint users_username_taken unique (username_key),
    constraint users_email_taken unique (email_key)
);
-- One row is one login with its family of refresh tokens, of which only hashes are kept: the one in use, the
-- successor that was handed out, the predecessor that has its grace.
create table caudex_auth.sessions (
    id uuid primary key,
    user_id uuid not null references caudex_auth.users (id) on delete cascade,
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    address text not null,
    user_agent text not null,
    parent_hash text,
    current_hash text not null,
    next_hash text,
    advanced_at timestamptz
);
create index sessions_user on caudex_auth.sessions (user_id, created_at desc);
create index sessions_expiry on caudex_auth.sessions (expires_at);
create table caudex_auth.throttle (
    key text primary key,
    failures integer not null,
    since timestamptz not null,
    failed_at timestamptz not null,
    blocked_until timestamptz
);
create index throttle_age on caudex_auth.throttle (failed_at);
-- Networks from which an account signed in lately: failed logins there are counted apart from those of strangers, who
-- could lock the owner out otherwise. Not a column of sessions, which end with a logout. No foreign key: a refresh
-- holds its session when it writes here, and would wait for the account's row, whose holder waits for the session.
create table caudex_auth.networks (
    user_id uuid not null,
    network text not null,
    seen_at timestamptz not null default now(),
    primary key (user_id, network)
);
create index networks_age on caudex_auth.networks (seen_at);
