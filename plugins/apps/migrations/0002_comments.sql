comment on table caudex_apps.apps is 'What is installed.';
comment on column caudex_apps.apps.id is 'The app; its tables are in the schema of this name.';
comment on column caudex_apps.apps.name is 'What pages show.';
comment on column caudex_apps.apps.version is 'The version in the manifest.';
comment on column caudex_apps.apps.manifest is 'The manifest as it was sent.';
comment on column caudex_apps.apps.model is 'What became of it: entities with their fields and unique keys.';
comment on column caudex_apps.apps.stamp is
'Grows with each install: what is compiled for one state of an app is good for that stamp only.';
comment on column caudex_apps.apps.installed_by is 'The user that installed it first.';
comment on column caudex_apps.apps.installed_at is 'The first install.';
comment on column caudex_apps.apps.updated_at is 'The last install.';
comment on sequence caudex_apps.stamps is 'The stamps of all apps.';
comment on table caudex_apps.entities is
'What an install made in an app''s schema, and what is retired. A table that is not here was added by hand and is left '
'alone.';
comment on column caudex_apps.entities.app_id is 'The app.';
comment on column caudex_apps.entities.name is 'The entity, and its table.';
comment on column caudex_apps.entities.retired_at is
'When it left the manifest; its data stays until an admin prunes it.
   in the manifest --- an install without it ---> retired --- prune ---> dropped
         ^                                           |
         ''------------- an install with it ----------''';
comment on table caudex_apps.columns is 'The same for columns.';
comment on column caudex_apps.columns.app_id is 'The app.';
comment on column caudex_apps.columns.entity is 'The entity.';
comment on column caudex_apps.columns.name is 'The field, and its column.';
comment on column caudex_apps.columns.retired_at is 'When it left the manifest; as for entities.';
comment on table caudex_apps.manifests is 'What was installed when, so that the changes of an app can be seen.';
comment on column caudex_apps.manifests.app_id is 'The app.';
comment on column caudex_apps.manifests.stamp is 'The stamp of that install.';
comment on column caudex_apps.manifests.version is 'The version in the manifest.';
comment on column caudex_apps.manifests.manifest is 'The manifest as it was sent.';
comment on column caudex_apps.manifests.installed_by is 'The user.';
comment on column caudex_apps.manifests.installed_at is 'The install.';
comment on function caudex_apps.touch is 'A trigger of entity tables: it sets `updated_at`.';
comment on function caudex_apps.exact is
'A number as a float, or null where digits would be lost. This and the functions below say how a column changes its '
'type. Each returns the value in the new type when nothing of it is lost, and null when it does not convert; null in, '
'null out.';
comment on function caudex_apps.json_repeats_key is
'Called by text_to_json, whose settings hold here too: setting them for each level would cost most.';
comment on function caudex_apps.text_to_json is
'jsonb would keep the last of a repeated key only; a bare null would become no value at all.';
comment on function caudex_apps.text_to_number is
'Leading zeros mean something in codes and phone numbers, so such text is no number.';
