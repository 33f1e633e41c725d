-- replaces: 0001_logs.sql 0002_turns.sql 0003_lives.sql
-- Ids grow in the order in which lines become visible within an app: a transaction that writes lines of an app locks
-- `logs.lines:<app>` until it commits. Readers go on from the last id they saw.
create table caudex_logs.lines (
    id bigint generated always as identity primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    level text not null,
    message text not null,
    ts timestamptz not null
);
create index lines_by_app on caudex_logs.lines (app_id, id);
create index lines_by_age on caudex_logs.lines (ts);
