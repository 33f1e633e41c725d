-- The schema caudex_logs as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- What workers write, and what the server says about them.
create table caudex_logs.lines (
    -- Grows in the order in which lines become visible within an app: a transaction that writes lines of an app locks
    -- `logs.lines:<app>` until it commits. Readers go on from the last id they saw.
    id bigint generated always as identity,
    app_id text not null,  -- The app.
    level text not null,  -- debug, info, warn, error; `system` for lines of the server.
    message text not null,  -- The line; secrets are masked.
    ts timestamptz not null,  -- When it was written.
    -- The request (`X-Request-Id`) or job that the handler served when it wrote the line; null where it is not known.
    request_id text,
    primary key (id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index lines_by_app on caudex_logs.lines (app_id, id);
create index lines_by_age on caudex_logs.lines (ts);
create index lines_of_request on caudex_logs.lines (request_id) where (request_id is not null);
