alter table caudex_rbac.roles add column second_factor boolean not null default false;
