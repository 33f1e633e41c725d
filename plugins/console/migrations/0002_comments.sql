comment on table caudex_console.instance is 'How this server differs from others on the same host.';
comment on column caudex_console.instance.only_row is 'Always true: there is one row.';
comment on column caudex_console.instance.id is
'Part of the name of the session cookie: two servers on one host keep their cookies apart.';
comment on table caudex_console.settings is 'What the console remembers for a user.';
comment on column caudex_console.settings.user_id is 'The user.';
comment on column caudex_console.settings.key is 'The theme, or the columns of a table.';
comment on column caudex_console.settings.value is 'As the page sent it.';
comment on table caudex_console.views is 'Saved views of a table.';
comment on column caudex_console.views.id is 'Part of its address.';
comment on column caudex_console.views.app_id is 'The app.';
comment on column caudex_console.views.entity is 'The entity.';
comment on column caudex_console.views.name is 'What the page shows.';
comment on column caudex_console.views.role is 'For all holders of this role; null for the owner alone.';
comment on column caudex_console.views.owner_id is 'Who saved it.';
comment on column caudex_console.views.state is 'Filter, order and columns, as the page sent them.';
comment on column caudex_console.views.created_at is 'When it was saved.';
