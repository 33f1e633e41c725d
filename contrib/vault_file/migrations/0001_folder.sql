-- Which folder holds this database's secrets: a server that sees another one does not start. Its row
-- is locked by whoever writes a secret, so that files change in the order of the audit trail.
create table caudex_vault_file.folder (
    only_row boolean primary key default true check (only_row),
    id text not null,
    key_id text not null
);
