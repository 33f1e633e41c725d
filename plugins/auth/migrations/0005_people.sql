create table caudex_auth.sign_ins (
    user_id uuid primary key references caudex_auth.users on delete cascade,
    at timestamptz not null default now()
);
comment on table caudex_auth.sign_ins is
'When each account last signed in. Not a column of users: a login only reads the row of the account.';
comment on column caudex_auth.sign_ins.user_id is 'The account.';
comment on column caudex_auth.sign_ins.at is 'The last login, exact to a minute.';

insert into caudex_auth.sign_ins (user_id, at)
select user_id, max(created_at) from caudex_auth.sessions group by user_id;

create table caudex_auth.invites (
    id uuid primary key default gen_random_uuid(),
    hash text not null unique,
    created_by uuid not null references caudex_auth.users on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    email text,
    app_id text,
    role text,
    installation bigint,
    used_at timestamptz,
    used_by uuid references caudex_auth.users on delete set null,
    constraint invites_role check ((app_id is null) = (role is null))
);
create index invites_created on caudex_auth.invites (created_by);
create index invites_expiry on caudex_auth.invites (expires_at);
create index invites_used on caudex_auth.invites (used_by) where used_by is not null;
comment on table caudex_auth.invites is
'Invites: each lets one person make an account. A row is deleted when its invite is withdrawn, or the account that made '
'it is disabled or deleted; used and expired ones 30 days later.
   open ------ an account is made with it ------> used
     |
     ''----- its time is over ------> expired';
comment on column caudex_auth.invites.id is 'What admins withdraw it by; it opens nothing.';
comment on column caudex_auth.invites.hash is
'SHA-256 of the token in the link, in hex. It has 256 random bits, so a slow hash would protect nothing.';
comment on column caudex_auth.invites.created_by is 'The core admin. An invite is worth nothing without the right to make it.';
comment on column caudex_auth.invites.created_at is 'The creation.';
comment on column caudex_auth.invites.expires_at is 'The end of the invite.';
comment on column caudex_auth.invites.email is 'The address that the account gets; null lets the person name one.';
comment on column caudex_auth.invites.app_id is 'The app of the role; null for an account without a role.';
comment on column caudex_auth.invites.role is 'The role that the account gets.';
comment on column caudex_auth.invites.installation is
'The installation key of the app; null for `core`. A later app of the name is another one.';
comment on column caudex_auth.invites.used_at is 'When an account was made with it; it works once.';
comment on column caudex_auth.invites.used_by is 'That account.';
