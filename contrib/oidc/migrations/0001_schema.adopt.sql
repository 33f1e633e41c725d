delete from caudex_oidc.granted where app_id not in (select app_id from caudex_kernel.apps);
alter table caudex_oidc.granted add foreign key (app_id) references caudex_kernel.apps (app_id) on delete cascade;
