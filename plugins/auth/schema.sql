-- The schema caudex_auth as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Accounts. Names are compared by their keys, folded by the server: lower() depends on the collation of the database,
-- and knows nothing but ASCII under "C".
create table caudex_auth.users (
    id uuid not null default gen_random_uuid(),  -- The id of the user in every table of every plugin.
    username text not null,  -- As it was entered.
    username_key text not null,  -- The folded name.
    email text,  -- As it was entered.
    email_key text,  -- The folded address.
    display_name text,  -- What pages show in place of the name.
    password_hash text not null,  -- Argon2id, with its parameters.
    disabled boolean not null default false,  -- A closed account: it has no sessions and no delegations.
    created_at timestamptz not null default now(),  -- The registration.
    updated_at timestamptz not null default now(),  -- The last change of the account.
    -- The epoch: how often the tokens that workers have for the user were revoked, by a new password or by closing the
    -- account. A token holds the count of its time, and is valid while it is the same. A count, as tokens know whole
    -- seconds only.
    withdrawals integer not null default 0,
    -- An admin has set the password: it must be changed before anything else.
    password_temporary boolean not null default false,
    -- A service account has a random password that was never shown, and signs in by API keys only.
    kind text not null default 'person',
    primary key (id),
    unique (email_key),
    unique (username_key),
    check ((kind = any (array['person', 'service'])))
);

-- One row is one login with its chain of refresh tokens, of which only hashes are stored.
create table caudex_auth.sessions (
    id uuid not null,  -- Part of each token of the session.
    user_id uuid not null,  -- Who signed in.
    created_at timestamptz not null default now(),  -- The login.
    last_used_at timestamptz not null default now(),  -- The last refresh.
    expires_at timestamptz not null,  -- After this time no refresh token of it is valid.
    revoked_at timestamptz,  -- A logout, or the revocation by the user or an admin.
    address text not null,  -- The client's address at the login.
    user_agent text not null,  -- The client's program at the login.
    -- The refresh token before the current one, which has its grace.
    --    next ------ it is used ------> current ------ its successor is used ------> parent
    --      ^                                                                           |
    --      '-- handed out by a refresh                        valid for the grace <----'
    -- Any other token of the chain is a stolen one: it revokes the session.
    parent_hash text,
    current_hash text not null,  -- The refresh token in use.
    next_hash text,  -- The successor that was handed out and was not used yet.
    advanced_at timestamptz,  -- When the current one became it: the grace begins.
    -- A session without a password, which another plugin began: that one is responsible for a second factor.
    external boolean not null default false,
    -- The installation key of the app through whose host the user signed in; null for the host of the server. Tokens of
    -- the session are good at this door only, for life, and end with the installation.
    installation bigint,
    primary key (id),
    foreign key (user_id) references caudex_auth.users(id) on delete cascade
);
create index sessions_user on caudex_auth.sessions (user_id, created_at desc);
create index sessions_expiry on caudex_auth.sessions (expires_at);

-- Failed logins, by account and network: the lockout.
create table caudex_auth.throttle (
    key text not null,  -- Of an account at a network, or of a network.
    failures integer not null,  -- How many in a row.
    since timestamptz not null,  -- The first of them.
    failed_at timestamptz not null,  -- The last of them; rows of the last hour are kept.
    blocked_until timestamptz,  -- Until then a login is refused without a look at the password.
    primary key (key)
);
create index throttle_age on caudex_auth.throttle (failed_at);

-- Networks from which an account signed in lately: failed logins there are counted apart from those of strangers, who
-- could lock the owner out otherwise. Not a column of sessions, which end with a logout. No foreign key: a refresh
-- holds its session when it writes here, and would wait for the account's row, whose holder waits for the session.
create table caudex_auth.networks (
    user_id uuid not null,  -- The account.
    network text not null,  -- A /24 of IPv4, or a /64 of IPv6.
    seen_at timestamptz not null default now(),  -- The last login from there.
    primary key (user_id, network)
);
create index networks_age on caudex_auth.networks (seen_at);

-- The nonce of the setup token, until the first account exists; at most one row.
create table caudex_auth.setup (
    single boolean not null default true,  -- Always true: there is one row at most.
    nonce uuid not null,  -- A token holds it: another start of the server makes no second token.
    primary key (single),
    check (single)
);

-- The second factor of accounts that have one: time-based codes (RFC 6238).
create table caudex_auth.totp (
    user_id uuid not null,  -- The account.
    sealed text not null,  -- The secret of the codes, sealed with a key that is derived from the signing key.
    confirmed_at timestamptz,  -- When a first code was entered: without it the setup is not finished.
    last_step bigint not null default 0,  -- The time step (30 s) of the newest code that was used: a code works once.
    primary key (user_id),
    foreign key (user_id) references caudex_auth.users(id) on delete cascade
);

-- What signs in once where the device with the codes is lost.
create table caudex_auth.recovery_codes (
    user_id uuid not null,  -- The account.
    code_hash text not null,  -- The hash of a code; a row is deleted when its code is used.
    primary key (user_id, code_hash),
    foreign key (user_id) references caudex_auth.totp(user_id) on delete cascade
);

-- API keys: what programs authenticate with. A row is deleted when its key is revoked, or its account is disabled or
-- deleted.
create table caudex_auth.keys (
    id uuid not null default gen_random_uuid(),  -- Stays when the key is rotated; the audit trail and the log name it.
    user_id uuid not null,  -- Whose rights the key has.
    name text not null,  -- What the owner calls it.
    prefix text not null,  -- The first characters of the key, by which its owner recognises it.
    -- SHA-256 of the key, in hex. It has 256 random bits, so a slow hash would protect nothing.
    --    hash ------ rotated ------> former_hash, valid until former_until ------> forgotten
    hash text not null,
    former_hash text,  -- The hash before the last rotation.
    former_until timestamptz,  -- The end of the overlap, in which the former key is valid, too.
    apps text[],  -- The apps that it may be used for; null for each of its owner.
    permissions text[],  -- What it may be used for, `<app>:<key>`; null for everything that its owner may do.
    -- Made in a session without a password, whose provider is responsible for a second factor.
    external boolean not null default false,
    created_at timestamptz not null default now(),  -- The creation; a rotation does not change it.
    expires_at timestamptz,  -- The end of the key; null for none.
    last_used_at timestamptz,  -- The last request with it, exact to a minute.
    last_address text,  -- The address of that client.
    primary key (id),
    unique (former_hash),
    unique (hash),
    foreign key (user_id) references caudex_auth.users(id) on delete cascade
);
create index keys_user on caudex_auth.keys (user_id);

-- When each account last signed in. Not a column of users: a login only reads the row of the account.
create table caudex_auth.sign_ins (
    user_id uuid not null,  -- The account.
    at timestamptz not null default now(),  -- The last login, exact to a minute.
    primary key (user_id),
    foreign key (user_id) references caudex_auth.users(id) on delete cascade
);

-- Invites: each lets one person make an account. A row is deleted when its invite is withdrawn, or the account that
-- made it is disabled or deleted; used and expired ones 30 days later.
--    open ------ an account is made with it ------> used
--      |
--      '----- its time is over ------> expired
create table caudex_auth.invites (
    id uuid not null default gen_random_uuid(),  -- What admins withdraw it by; it opens nothing.
    -- SHA-256 of the token in the link, in hex. It has 256 random bits, so a slow hash would protect nothing.
    hash text not null,
    created_by uuid not null,  -- The core admin. An invite is worth nothing without the right to make it.
    created_at timestamptz not null default now(),  -- The creation.
    expires_at timestamptz not null,  -- The end of the invite.
    email text,  -- The address that the account gets; null lets the person name one.
    app_id text,  -- The app of the role; null for an account without a role.
    role text,  -- The role that the account gets.
    installation bigint,  -- The installation key of the app; null for `core`. A later app of the name is another one.
    used_at timestamptz,  -- When an account was made with it; it works once.
    used_by uuid,  -- That account.
    primary key (id),
    unique (hash),
    check (((app_id is null) = (role is null))),
    foreign key (created_by) references caudex_auth.users(id) on delete cascade,
    foreign key (used_by) references caudex_auth.users(id) on delete set null
);
create index invites_created on caudex_auth.invites (created_by);
create index invites_expiry on caudex_auth.invites (expires_at);
create index invites_used on caudex_auth.invites (used_by) where (used_by is not null);
