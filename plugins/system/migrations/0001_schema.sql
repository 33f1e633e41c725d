-- Whether each plugin that must know is on, and since when. Such a plugin has a function
-- caudex_<plugin>.switched(enabled boolean, since timestamptz), which is called at each change: `since` is when the
-- state before began.
create table caudex_system.switches (
    plugin text primary key,
    enabled boolean not null,
    since timestamptz not null default now()
);
-- The server processes that run, each with its plugins. A row of a killed one expires.
create table caudex_system.processes (
    id text primary key,
    plugins text[] not null,
    expires timestamptz not null
);
