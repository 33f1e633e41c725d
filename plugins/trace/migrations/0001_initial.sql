create table caudex_trace.calls (
    id bigint generated always as identity primary key,
    request_id text not null,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    method text not null,
    at timestamptz not null,
    ms double precision not null,
    error text
);
create index calls_of_request on caudex_trace.calls (request_id);
create index calls_of_app on caudex_trace.calls (app_id);
comment on table caudex_trace.calls is
'Calls of workers, the newest ones: what a request did there has no other row.';
comment on column caudex_trace.calls.id is 'Grows; the lowest ones are deleted.';
comment on column caudex_trace.calls.request_id is 'The request (`X-Request-Id`).';
comment on column caudex_trace.calls.app_id is 'The app of the worker.';
comment on column caudex_trace.calls.method is 'The method of the worker.';
comment on column caudex_trace.calls.at is 'The begin of the call.';
comment on column caudex_trace.calls.ms is 'Milliseconds that it took.';
comment on column caudex_trace.calls.error is 'What it failed with; null where it succeeded.';
comment on index caudex_trace.calls_of_app is 'For the removal of an app.';
