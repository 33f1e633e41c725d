-- replaces: 0001_schema.sql
create table caudex_logs.lines (
    id bigint generated always as identity primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    level text not null,
    message text not null,
    ts timestamptz not null
);
create index lines_by_app on caudex_logs.lines (app_id, id);
create index lines_by_age on caudex_logs.lines (ts);
