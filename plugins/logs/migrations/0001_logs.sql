-- Ids grow in the order in which lines become visible within an app: whoever writes lines of an app
-- holds an advisory lock until the commit. Readers go on from the last id they saw.
create table caudex_logs.lines (
    id bigint generated always as identity primary key,
    app_id text not null,
    level text not null,
    message text not null,
    ts timestamptz not null
);

create index lines_by_app on caudex_logs.lines (app_id, id);
create index lines_by_age on caudex_logs.lines (ts);
