-- The schema caudex_oidc as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The account of each subject, which never changes. Accounts belong to another plugin, so nothing references them.
create table caudex_oidc.links (
    issuer text not null,  -- The identity provider.
    subject text not null,  -- Its name for the person (claim `sub`).
    user_id uuid not null,  -- The account.
    created_at timestamptz not null default now(),  -- The first sign-in.
    primary key (issuer, subject)
);
create index links_user on caudex_oidc.links (user_id);

-- Roles that a claim assigned and can revoke; those that admins assigned are not its own.
create table caudex_oidc.granted (
    user_id uuid not null,  -- The account.
    app_id text not null,  -- The app, or `core`.
    role text not null,  -- The role.
    primary key (user_id, app_id, role),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- Codes that a page exchanges for a session, once.
create table caudex_oidc.handovers (
    code_hash text not null,  -- The hash of the code.
    challenge text not null,  -- A hash. Only the page that began the sign-in knows the text that it is of.
    user_id uuid not null,  -- The account.
    expires_at timestamptz not null,  -- After this time the code is worth nothing.
    primary key (code_hash)
);
create index handovers_expiry on caudex_oidc.handovers (expires_at);
