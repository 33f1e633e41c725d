create unlogged table caudex_system.traffic (
    process text not null,
    minute timestamptz not null,
    content jsonb not null,
    primary key (process, minute)
);
create index traffic_minute on caudex_system.traffic (minute);
comment on table caudex_system.traffic is
'What each server process counted of its requests, a row a minute, for an hour. Unlogged: a crash may lose it.';
comment on column caudex_system.traffic.process is 'Chosen by the process at its start.';
comment on column caudex_system.traffic.minute is 'When the minute began.';
comment on column caudex_system.traffic.content is
'Requests by route and bucket of duration, and the last that failed. A route is its template, never a path.';
