create table caudex_frontends.apps (
    app_id text primary key references caudex_kernel.apps (app_id) on delete cascade,
    key bigint not null,
    last_version integer not null default 1,
    version integer
);

create table caudex_frontends.versions (
    app_id text not null references caudex_frontends.apps (app_id) on delete cascade,
    version integer not null,
    digest text not null,
    size bigint not null,
    bundle text not null,
    created_at timestamptz not null default now(),
    created_by uuid,
    replaced_at timestamptz,
    primary key (app_id, version)
);

create table caudex_frontends.chunks (
    app_id text not null,
    version integer not null,
    position integer not null,
    data bytea not null,
    primary key (app_id, version, position),
    foreign key (app_id, version) references caudex_frontends.versions on delete cascade
);
alter table caudex_frontends.chunks alter column data set storage external;

create table caudex_frontends.installation (
    id uuid primary key default gen_random_uuid(),
    single boolean not null unique default true check (single)
);
insert into caudex_frontends.installation default values;

comment on table caudex_frontends.apps is 'Which version of each app''s frontend is in service.';
comment on column caudex_frontends.apps.app_id is 'The app.';
comment on column caudex_frontends.apps.key is
    'The installation that the row belongs to (`caudex_kernel.apps`).';
comment on column caudex_frontends.apps.last_version is 'The number that the last deploy got.';
comment on column caudex_frontends.apps.version is
    'The version in service:
   null --- deploy ---> a version --- deploy, rollback ---> another version
     ^                     |
     ''------ delete -------''';

comment on table caudex_frontends.versions is
    'The versions of an app''s frontend, the last five.';
comment on column caudex_frontends.versions.app_id is 'The app.';
comment on column caudex_frontends.versions.version is 'Counts deploys.';
comment on column caudex_frontends.versions.digest is 'SHA-256 of the archive.';
comment on column caudex_frontends.versions.size is 'Bytes of the archive.';
comment on column caudex_frontends.versions.bundle is
    'SHA-256 of the bundle: the files of the archive as they are sent, compressed ones too.';
comment on column caudex_frontends.versions.created_at is 'The deploy.';
comment on column caudex_frontends.versions.created_by is 'The user.';
comment on column caudex_frontends.versions.replaced_at is
    'When another version followed it in service; null before that. For a day after that its hashed files are still sent.';

comment on table caudex_frontends.chunks is
    'The bundle in rows of 1 MB, so that no process ever holds it whole.';
comment on column caudex_frontends.chunks.app_id is 'The app.';
comment on column caudex_frontends.chunks.version is 'The version.';
comment on column caudex_frontends.chunks.position is 'Counts from 0.';
comment on column caudex_frontends.chunks.data is
    'Mostly compressed already: stored as it is.';

comment on table caudex_frontends.installation is 'This deployment of Caudex, one row.';
comment on column caudex_frontends.installation.id is
    'A part of the cookie by which a browser notices that its host has another app.';
comment on column caudex_frontends.installation.single is 'Keeps a second row out.';
