-- replaces: 0001_schema.sql
create table caudex_vault_file.folder (
    only_row boolean primary key default true check (only_row),
    id text not null,
    key_id text not null
);

create table caudex_vault_file.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade
);
