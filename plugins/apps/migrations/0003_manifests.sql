-- What was installed when, so that the changes of an app can be seen.
create table caudex_apps.manifests (
    app_id text not null references caudex_apps.apps on delete cascade,
    stamp bigint not null,
    version text not null,
    manifest json not null,
    installed_by uuid,
    installed_at timestamptz not null default now(),
    primary key (app_id, stamp)
);
insert into caudex_apps.manifests (app_id, stamp, version, manifest, installed_by, installed_at)
select id, stamp, version, manifest, installed_by, updated_at from caudex_apps.apps;
