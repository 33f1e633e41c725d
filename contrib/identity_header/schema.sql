-- The schema caudex_identity_header as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Accounts; the first request of a user creates one. Names are compared by their keys, folded by the server: lower()
-- depends on the collation.
create table caudex_identity_header.users (
    id uuid not null default gen_random_uuid(),  -- The id of the user in every table of every plugin.
    username text not null,  -- As the proxy sent it.
    username_key text not null,  -- The folded name.
    email text,  -- As the proxy sent it.
    email_key text,  -- The folded address.
    display_name text,  -- What pages show in place of the name.
    disabled boolean not null default false,  -- A closed account: its requests are refused.
    created_at timestamptz not null default now(),  -- The first request.
    primary key (id),
    unique (email_key),
    unique (username_key)
);
