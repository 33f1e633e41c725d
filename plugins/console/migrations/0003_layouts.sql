-- Views with layouts, dashboards, and those that manifests declare.
alter table caudex_console.views
    alter column entity drop not null,
    alter column owner_id drop not null,
    add column version integer not null default 1,
    add column install_stamp bigint,
    add constraint views_owner check ((owner_id is null) = (install_stamp is not null));
create unique index declared_views on caudex_console.views (app_id, (entity is null), name)
where install_stamp is not null;
comment on table caudex_console.views is 'Views of a table, and dashboards of an app.';
comment on column caudex_console.views.entity is 'The entity; null for a dashboard.';
comment on column caudex_console.views.role is
'For all holders of this role; null for the owner alone, or of a declared view for every user of the app.';
comment on column caudex_console.views.owner_id is 'Who saved it; null where the manifest declares it.';
comment on column caudex_console.views.state is
'Layout, filter, order and columns, as the address of the page has them; of a dashboard its tiles.';
comment on column caudex_console.views.version is 'Counts changes; its entity tag.';
comment on column caudex_console.views.install_stamp is
'The install whose manifest declares it; null for what a user saved.';
