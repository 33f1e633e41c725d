comment on table caudex_rbac.apps is 'The permission keys of apps, and of `core`, which is the server itself.';
comment on column caudex_rbac.apps.app_id is 'The app, or `core`.';
comment on column caudex_rbac.apps.entities is 'Its entities, each with the four permissions of records.';
comment on column caudex_rbac.apps.permissions is '[{"key", "description"}] in the order of the manifest.';
comment on column caudex_rbac.apps.field_rules is
'Fields with permissions of their own: [{"entity", "field", "read", "write", "sources"}]. `read` and `write` are the '
'roles that hold `<entity>.<field>.read` and `.write`, or null where no permission is needed.';
comment on table caudex_rbac.roles is 'Roles; `admin` holds `*`.';
comment on column caudex_rbac.roles.app_id is 'The app, or `core`.';
comment on column caudex_rbac.roles.name is 'Unique in the app.';
comment on column caudex_rbac.roles.description is 'What pages show.';
comment on column caudex_rbac.roles.inherits is 'Roles of the same app whose permissions it has too.';
comment on column caudex_rbac.roles.permissions is
'Keys; `*` is all of them, and the suffix `.own` means records that the caller created.';
comment on column caudex_rbac.roles.second_factor is 'It counts only in a session with a second factor.';
comment on table caudex_rbac.assignments is
'Who has which role. Accounts belong to the provider of IDENTITY, so nothing references them.';
comment on column caudex_rbac.assignments.app_id is 'The app, or `core`.';
comment on column caudex_rbac.assignments.role is 'The role.';
comment on column caudex_rbac.assignments.user_id is 'The user.';
comment on column caudex_rbac.assignments.assigned_at is 'When.';
comment on table caudex_rbac.grants is
'What workers of `app_id` may do on `target` on behalf of users that hold the same permissions there.';
comment on column caudex_rbac.grants.app_id is 'The app whose worker gets the permissions.';
comment on column caudex_rbac.grants.target is 'The app whose records they are about.';
comment on column caudex_rbac.grants.permissions is 'Keys of the target.';
