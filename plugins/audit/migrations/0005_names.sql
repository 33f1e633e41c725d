-- Rows of the trail are never changed, so they keep the names of their time.
create table caudex_audit.names (
    app_id text collate "C" not null references caudex_kernel.apps (app_id) on delete cascade,
    entity text collate "C" not null,
    field text collate "C" not null default '',
    former text collate "C" not null,
    since bigint not null,
    until bigint not null,
    primary key (app_id, entity, field, until)
);
comment on table caudex_audit.names is
'Former names of entities and fields. Rows of the trail keep the names of their time, and are found under the present '
'ones.';
comment on column caudex_audit.names.app_id is 'The app.';
comment on column caudex_audit.names.entity is 'The present name of the entity.';
comment on column caudex_audit.names.field is 'The present name of the field; empty where it is about the entity itself.';
comment on column caudex_audit.names.former is 'What the entity or the field is called in these rows.';
comment on column caudex_audit.names.since is 'The first id of these rows.';
comment on column caudex_audit.names.until is 'The id that follows these rows.';
