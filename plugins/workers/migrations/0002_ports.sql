-- TCP ports that a core admin allowed the worker of an app; the manifest must name them too.
create table caudex_workers.ports (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    ports integer[] not null
);
