-- How a manifest was installed, what that changed, and where the app is written.
alter table caudex_apps.apps add column if not exists managed_by text check (managed_by = 'files');
alter table caudex_apps.manifests
    add column if not exists via text not null default 'install',
    add column if not exists changes json not null default '[]';
comment on column caudex_apps.apps.managed_by is
'`files` where the app was deployed from a folder: its manifest is not edited here until an admin says otherwise. Null for '
'others.';
comment on column caudex_apps.manifests.via is
'What installed it: install (the whole manifest), deploy (from a folder), edit (operations), undo.';
comment on column caudex_apps.manifests.changes is 'What that changed in the tables, as a plan shows it.';
