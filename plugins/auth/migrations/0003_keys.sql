alter table caudex_auth.users add column kind text not null default 'person'
    constraint users_kind_check check (kind in ('person', 'service'));
comment on column caudex_auth.users.kind is
'A service account has a random password that was never shown, and signs in by API keys only.';

create table caudex_auth.keys (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references caudex_auth.users on delete cascade,
    name text not null,
    prefix text not null,
    hash text not null unique,
    former_hash text unique,
    former_until timestamptz,
    apps text[],
    permissions text[],
    external boolean not null default false,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    last_address text
);
create index keys_user on caudex_auth.keys (user_id);
comment on table caudex_auth.keys is
'API keys: what programs authenticate with. A row is deleted when its key is revoked, or its account is disabled or '
'deleted.';
comment on column caudex_auth.keys.id is 'Stays when the key is rotated; the audit trail and the log name it.';
comment on column caudex_auth.keys.user_id is 'Whose rights the key has.';
comment on column caudex_auth.keys.name is 'What the owner calls it.';
comment on column caudex_auth.keys.prefix is 'The first characters of the key, by which its owner recognises it.';
comment on column caudex_auth.keys.hash is
'SHA-256 of the key, in hex. It has 256 random bits, so a slow hash would protect nothing.
   hash ------ rotated ------> former_hash, valid until former_until ------> forgotten';
comment on column caudex_auth.keys.former_hash is 'The hash before the last rotation.';
comment on column caudex_auth.keys.former_until is 'The end of the overlap, in which the former key is valid, too.';
comment on column caudex_auth.keys.apps is 'The apps that it may be used for; null for each of its owner.';
comment on column caudex_auth.keys.permissions is
'What it may be used for, `<app>:<key>`; null for everything that its owner may do.';
comment on column caudex_auth.keys.external is
'Made in a session without a password, whose provider is responsible for a second factor.';
comment on column caudex_auth.keys.created_at is 'The creation; a rotation does not change it.';
comment on column caudex_auth.keys.expires_at is 'The end of the key; null for none.';
comment on column caudex_auth.keys.last_used_at is 'The last request with it, exact to a minute.';
comment on column caudex_auth.keys.last_address is 'The address of that client.';
