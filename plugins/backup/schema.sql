-- The schema caudex_backup as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- The last backup in each folder, and the last one of it that a restore proved.
create table caudex_backup.last (
    folder text not null,  -- The folder, as the machine that writes to it names it.
    file text not null,  -- The newest backup.
    made_at timestamptz not null,  -- When it was complete.
    verified_file text,  -- The newest one that was restored on trial.
    verified_at timestamptz,  -- When that was.
    primary key (folder)
);

-- Backups that admins made or verified over HTTP, the last twenty. One runs at a time.
--    running ------ it is done ------> ended, without an error or with one
--       |
--       '------ its server is gone ---> lost: its heartbeat is old
create table caudex_backup.runs (
    id uuid not null default gen_random_uuid(),  -- Of the run.
    kind text not null,  -- What is done.
    file text,  -- The file that is verified; null for a new one.
    started_at timestamptz not null default now(),  -- The beginning.
    started_by uuid,  -- The core admin.
    heartbeat timestamptz not null default now(),  -- When the server process last said that it goes on.
    ended_at timestamptz,  -- The end.
    error text,  -- Why it failed.
    primary key (id),
    check ((kind = any (array['make', 'verify'])))
);
