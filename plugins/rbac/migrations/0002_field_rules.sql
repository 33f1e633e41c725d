-- Fields with permissions of their own: [{entity, field, read, write, sources}], `read` and `write` being the roles
-- that hold `<entity>.<field>.read` and `.write`, or null where no permission is needed.
alter table caudex_rbac.apps add column field_rules jsonb not null default '[]';
