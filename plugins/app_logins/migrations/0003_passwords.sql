-- The passwords of logins. The first server process that starts removes them, and a start of a worker makes one. Neither
-- the log nor a base backup has the rows of an unlogged table, and `caudex backup` leaves them out. A crash of PostgreSQL
-- empties it; the processes know what they gave to their workers.
create unlogged table caudex_app_logins.passwords (
    number bigint primary key references caudex_app_logins.logins (number) on delete cascade,
    password text not null
);

-- Earlier versions kept them here.
alter table caudex_app_logins.logins alter column password set default '';
update caudex_app_logins.logins set password = '';

-- Each server process has a lock on it while it runs. It has no rows.
create table caudex_app_logins.servers ();
