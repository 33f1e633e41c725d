-- A default that is a constant rewrites no row.
alter table caudex_audit.log drop constraint log_pkey, add column xid xid8 not null default '0',
    add column app_key bigint, add column owner_id uuid;
alter table caudex_audit.log alter column xid set default pg_current_xact_id();
create index log_latest on caudex_audit.log (id);
create index log_request on caudex_audit.log (request_id) where request_id is not null;
create table caudex_audit.apps (
    app_id text collate "C" primary key references caudex_kernel.apps (app_id) on delete cascade,
    begins bigint not null
);
-- But for apps that came while the plugin was off: their trail begins with the next start.
insert into caudex_audit.apps
    select a.app_id, coalesce(l.begins, 0)
    from caudex_kernel.apps as a left join caudex_audit.lives as l using (app_id)
    where a.key <> 0 and coalesce(l.born, 0) >= a.key;
drop table caudex_audit.lives, caudex_audit.turns;
