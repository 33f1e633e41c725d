comment on table caudex_vault.master is
'Which master key wraps the data keys: a server that does not hold it refuses to start.';
comment on column caudex_vault.master.only_row is 'Always true: there is one row at most.';
comment on column caudex_vault.master.key_id is 'The fingerprint of the key.';
comment on table caudex_vault.data_keys is
'One data key for each scope, sealed by a master key.
   master key (a file) --- seals ---> data key --- seals ---> secrets';
comment on column caudex_vault.data_keys.id is 'Secrets name it.';
comment on column caudex_vault.data_keys.scope is 'An app, or the platform.';
comment on column caudex_vault.data_keys.app_id is 'The app; '''' for the platform.';
comment on column caudex_vault.data_keys.master_id is 'The fingerprint of the master key that sealed it.';
comment on column caudex_vault.data_keys.sealed is 'The data key, encrypted.';
comment on column caudex_vault.data_keys.created_at is 'When it was made.';
comment on column caudex_vault.data_keys.installed_app_id is
'The app, null for the platform: the key goes with the app, and its secrets with it.';
comment on table caudex_vault.secrets is 'Secrets, encrypted with the data key of their scope.';
comment on column caudex_vault.secrets.scope is 'An app, or the platform.';
comment on column caudex_vault.secrets.app_id is 'The app; '''' for the platform.';
comment on column caudex_vault.secrets.key is 'The name: that of an environment variable.';
comment on column caudex_vault.secrets.version is
'Part of the associated data: an older value of the row does not decrypt in its place.';
comment on column caudex_vault.secrets.data_key is 'The key that sealed it.';
comment on column caudex_vault.secrets.sealed is 'The value, encrypted.';
comment on column caudex_vault.secrets.updated_at is 'When the value was set.';
comment on column caudex_vault.secrets.used_at is 'When it was last given to a worker, to the minute.';
comment on column caudex_vault.secrets.used_by is 'The app of that worker.';
