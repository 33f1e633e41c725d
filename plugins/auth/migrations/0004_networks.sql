-- From which networks an account signed in of late: failed logins there are counted apart from those of strangers,
-- who would keep the owner out else. Not a column of sessions, which end with a logout. No foreign key: a
-- refresh holds its session when it writes here, and would wait for the account's row, whose holder waits for the
-- session.
create table caudex_auth.networks (
    user_id uuid not null,
    network text not null,
    seen_at timestamptz not null default now(),
    primary key (user_id, network)
);
create index networks_age on caudex_auth.networks (seen_at);

-- An IPv6 network comes with the next refresh: how it is written is the server's to know.
insert into caudex_auth.networks (user_id, network, seen_at)
select user_id, address, max(last_used_at) from caudex_auth.sessions
where expires_at > now() and address ~ '^[0-9.]+$' group by user_id, address;
