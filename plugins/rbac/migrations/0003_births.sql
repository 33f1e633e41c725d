-- When the app was born whose roles these are. ACCESS may have been somebody else's while one was removed and
-- another of its name installed. 0 are those that were here before, and `core`.
alter table caudex_rbac.apps add column born bigint not null default 0;
