alter table caudex_apps.apps drop column born,
    add foreign key (id) references caudex_kernel.apps (app_id) on delete cascade;
drop table caudex_apps.turns;
