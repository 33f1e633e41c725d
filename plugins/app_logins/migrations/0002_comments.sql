comment on table caudex_app_logins.logins is 'The database role that the worker of an app connects with.';
comment on column caudex_app_logins.logins.app_id is 'The app.';
comment on column caudex_app_logins.logins.number is 'Part of the name of the role, and never used twice.';
comment on table caudex_app_logins.passwords is
'The passwords of logins. The first server process that starts removes them, and a start of a worker makes one. Neither '
'the log nor a base backup has the rows of an unlogged table, and `caudex backup` leaves them out. A crash of PostgreSQL '
'empties it; the processes know what they gave to their workers.';
comment on column caudex_app_logins.passwords.number is 'The login.';
comment on column caudex_app_logins.passwords.password is
'Of a login that reaches the app''s own tables only: less than a reader of this row can.';
comment on table caudex_app_logins.servers is
'Each server process has a lock on it while it runs. It has no columns and no rows.';
comment on function caudex_app_logins.switched is
'Called where the plugin is switched off or on. While it is off no login of an app opens a session; a start of the '
'app''s worker opens its login again.';
comment on function caudex_app_logins.purged is 'Called before the plugin''s tables are dropped.';
