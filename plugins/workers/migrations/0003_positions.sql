create table caudex_workers.positions (
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    entity text collate "C" not null,
    name text collate "C" not null,
    position text collate "C" not null,
    updated_at timestamptz not null default now(),
    primary key (app_id, entity, name)
);
comment on table caudex_workers.positions is
'How far readers of workers have got in the changes of records: what comes before has been handled.';
comment on column caudex_workers.positions.app_id is 'The app.';
comment on column caudex_workers.positions.entity is 'The entity whose changes are read.';
comment on column caudex_workers.positions.name is 'The reader, as the worker calls it.';
comment on column caudex_workers.positions.position is 'The position, as CHANGES has it.';
comment on column caudex_workers.positions.updated_at is 'When the reader got there.';
