-- The schema caudex_vault_file as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Which folder holds this database's secrets: a server that sees another one does not start. Its row is locked by a
-- transaction that writes a secret, so that files change in the order of the audit trail.
create table caudex_vault_file.folder (
    only_row boolean not null default true,  -- Always true: there is one row at most.
    id text not null,  -- A file in the folder has the same id.
    key_id text not null,  -- The fingerprint of the key.
    primary key (only_row),
    check (only_row)
);

-- The apps that the folder's files belong to. Files of an app without a row are deleted at the next start: they are of
-- an app that was removed, or of a former app of the same name.
create table caudex_vault_file.apps (
    app_id text not null,  -- The app.
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
