-- replaces: 0001_schema.sql
create table caudex_oidc.links (
    issuer text not null,
    subject text not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index links_user on caudex_oidc.links (user_id);

create table caudex_oidc.granted (
    user_id uuid not null,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    role text not null,
    primary key (user_id, app_id, role)
);

create table caudex_oidc.handovers (
    code_hash text primary key,
    challenge text not null,
    user_id uuid not null,
    expires_at timestamptz not null
);
create index handovers_expiry on caudex_oidc.handovers (expires_at);
