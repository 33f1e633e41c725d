-- replaces: 0001_schema.sql 0002_account_security.sql
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
    password_temporary boolean not null default false,
    constraint users_username_taken unique (username_key),
    constraint users_email_taken unique (email_key)
);

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
    advanced_at timestamptz,
    external boolean not null default false
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

create table caudex_auth.networks (
    user_id uuid not null,
    network text not null,
    seen_at timestamptz not null default now(),
    primary key (user_id, network)
);
create index networks_age on caudex_auth.networks (seen_at);

create table caudex_auth.setup (
    single boolean primary key default true check (single),
    nonce uuid not null
);

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
