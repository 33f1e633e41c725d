-- The schema caudex_system as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Whether each plugin that must know is on. Such a plugin has a function caudex_<plugin>.switched(enabled boolean,
-- since timestamptz), which is called at each change.
create table caudex_system.switches (
    plugin text not null,  -- The plugin.
    enabled boolean not null,  -- What its function was called with last.
    since timestamptz not null default now(),  -- When this state began; the function gets it at the next change.
    primary key (plugin)
);

-- The server processes that run. A row of a killed one expires.
create table caudex_system.processes (
    id text not null,  -- Chosen by the process at its start.
    plugins text[] not null,  -- Those that it runs.
    expires timestamptz not null,  -- Half a minute after the last sign of life.
    primary key (id)
);

-- What each server process counted of its requests, a row a minute, for an hour. Unlogged: a crash may lose it.
create unlogged table caudex_system.traffic (
    process text not null,  -- Chosen by the process at its start.
    minute timestamptz not null,  -- When the minute began.
    -- Requests by route and bucket of duration, and the last that failed. A route is its template, never a path.
    content jsonb not null,
    primary key (process, minute)
);
create index traffic_minute on caudex_system.traffic (minute);
