-- replaces: 0001_links.sql
-- Whom a provider means: a subject is for ever one account here. That account is another plugin's, so
-- nothing refers to it.
create table caudex_oidc.links (
    issuer text not null,
    subject text not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index links_user on caudex_oidc.links (user_id);

-- Roles that a claim gave, and that the claim can take again; what admins gave stays theirs.
create table caudex_oidc.granted (
    user_id uuid not null,
    app_id text not null,
    role text not null,
    primary key (user_id, app_id, role)
);

-- Codes that a page exchanges for a session, once; of a code only its hash is kept. The challenge is
-- the hash of what only the page knows that began the sign-in.
create table caudex_oidc.handovers (
    code_hash text primary key,
    challenge text not null,
    user_id uuid not null,
    expires_at timestamptz not null
);
create index handovers_expiry on caudex_oidc.handovers (expires_at);
