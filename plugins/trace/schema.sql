-- The schema caudex_trace as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Calls of workers, the newest ones: what a request did there has no other row.
create table caudex_trace.calls (
    id bigint generated always as identity,  -- Grows; the lowest ones are deleted.
    request_id text not null,  -- The request (`X-Request-Id`).
    app_id text not null,  -- The app of the worker.
    method text not null,  -- The method of the worker.
    at timestamptz not null,  -- The begin of the call.
    ms double precision not null,  -- Milliseconds that it took.
    error text,  -- What it failed with; null where it succeeded.
    primary key (id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index calls_of_request on caudex_trace.calls (request_id);
-- For the removal of an app.
create index calls_of_app on caudex_trace.calls (app_id);
