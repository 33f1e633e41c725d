-- The schema caudex_workers as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Numbers are never used twice: an app that is installed again gets another uid and other folders.
create sequence caudex_workers.numbers;

-- The desired state of each app's worker.
create table caudex_workers.apps (
    app_id text not null,  -- The app.
    -- Of its uid and its folders on each machine.
    number bigint not null default nextval('caudex_workers.numbers'::regclass),
    next_version integer not null default 1,  -- The version that the next deploy gets.
    version integer,  -- The version in service; null before a first deploy.
    -- Whether it should run. Reconcilers make replicas match:
    --    deploy, start, rollback ---> true --- stop ---> false
    wanted boolean not null default false,
    -- Grows with each deploy, start, stop and rollback: replicas of an older one are replaced.
    attempt bigint not null default 0,
    key bigint not null,  -- The installation that the row belongs to (`caudex_kernel.apps`).
    primary key (app_id),
    unique (number),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- The versions of an app's code, the last five.
create table caudex_workers.versions (
    app_id text not null,  -- The app.
    version integer not null,  -- Counts deploys.
    digest text not null,  -- SHA-256 of the archive.
    size bigint not null,  -- Bytes of the archive.
    created_at timestamptz not null default now(),  -- The deploy.
    created_by uuid,  -- The user.
    primary key (app_id, version),
    foreign key (app_id) references caudex_workers.apps(app_id) on delete cascade
);

-- The archive in rows of 1 MB, so that no process ever holds it whole.
create table caudex_workers.chunks (
    app_id text not null,  -- The app.
    version integer not null,  -- The version.
    position integer not null,  -- Counts from 0.
    data bytea storage external not null,  -- Compressed by the client: stored as it is.
    primary key (app_id, version, "position"),
    foreign key (app_id, version) references caudex_workers.versions(app_id, version) on delete cascade
);

-- What each server process reports of its replicas.
create table caudex_workers.replicas (
    server_id uuid not null,  -- The server process.
    app_id text not null,  -- The app.
    -- Where the supervisor of the replica is. No row means stopped.
    --                  it is ready               stop, or another version
    --    starting -------------------> running -------------------------> stopping ---> stopped
    --      ^  ^                           |
    --      |  '--- after a pause -------- it ended
    --      |                              |  too often
    --      '------ after a longer pause - crashed
    state text not null,
    version integer,  -- The version that it runs.
    -- The last report: a row of a server that is gone counts no more after a while, and is deleted after an hour.
    heartbeat timestamptz not null default now(),
    primary key (server_id, app_id)
);
create index replicas_app on caudex_workers.replicas (app_id);

-- TCP ports that a core admin allowed the worker of an app; the manifest must name them too.
create table caudex_workers.ports (
    app_id text not null,  -- The app.
    ports integer[] not null,  -- The ports.
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- How far readers of workers have got in the changes of records: what comes before has been handled.
create table caudex_workers.positions (
    app_id text collate "C" not null,  -- The app.
    entity text collate "C" not null,  -- The entity whose changes are read.
    name text collate "C" not null,  -- The reader, as the worker calls it.
    position text collate "C" not null,  -- The position, as CHANGES has it.
    updated_at timestamptz not null default now(),  -- When the reader got there.
    primary key (app_id, entity, name),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
