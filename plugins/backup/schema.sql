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
