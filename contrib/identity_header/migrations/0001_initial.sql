-- replaces: 0001_schema.sql
create table caudex_identity_header.users (
    id uuid primary key default gen_random_uuid(),
    username text not null,
    username_key text not null unique,
    email text,
    email_key text unique,
    display_name text,
    disabled boolean not null default false,
    created_at timestamptz not null default now()
);
