create table caudex_backup.runs (
    id uuid primary key default gen_random_uuid(),
    kind text not null constraint runs_kind check (kind in ('make', 'verify')),
    file text,
    started_at timestamptz not null default now(),
    started_by uuid,
    heartbeat timestamptz not null default now(),
    ended_at timestamptz,
    error text
);
comment on table caudex_backup.runs is
'Backups that admins made or verified over HTTP, the last twenty. One runs at a time.
   running ------ it is done ------> ended, without an error or with one
      |
      ''------ its server is gone ---> lost: its heartbeat is old';
comment on column caudex_backup.runs.id is 'Of the run.';
comment on column caudex_backup.runs.kind is 'What is done.';
comment on column caudex_backup.runs.file is 'The file that is verified; null for a new one.';
comment on column caudex_backup.runs.started_at is 'The beginning.';
comment on column caudex_backup.runs.started_by is 'The core admin.';
comment on column caudex_backup.runs.heartbeat is 'When the server process last said that it goes on.';
comment on column caudex_backup.runs.ended_at is 'The end.';
comment on column caudex_backup.runs.error is 'Why it failed.';
