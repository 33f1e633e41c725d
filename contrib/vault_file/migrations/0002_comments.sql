comment on table caudex_vault_file.folder is
'Which folder holds this database''s secrets: a server that sees another one does not start. Its row is locked by a '
'transaction that writes a secret, so that files change in the order of the audit trail.';
comment on column caudex_vault_file.folder.only_row is 'Always true: there is one row at most.';
comment on column caudex_vault_file.folder.id is 'A file in the folder has the same id.';
comment on column caudex_vault_file.folder.key_id is 'The fingerprint of the key.';
comment on table caudex_vault_file.apps is
'The apps that the folder''s files belong to. Files of an app without a row are deleted at the next start: they are of '
'an app that was removed, or of a former app of the same name.';
comment on column caudex_vault_file.apps.app_id is 'The app.';
