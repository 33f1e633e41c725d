-- replaces: 0001_folder.sql 0002_lives.sql
-- Which folder holds this database's secrets: a server that sees another one does not start. Its row is locked by a
-- transaction that writes a secret, so that files change in the order of the audit trail.
create table caudex_vault_file.folder (
    only_row boolean primary key default true check (only_row),
    id text not null,
    key_id text not null
);
-- The apps that the folder's files belong to. Files of an app without a row are deleted at the next start: they are
-- of an app that was removed, or of a former app of the same name.
create table caudex_vault_file.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade
);
