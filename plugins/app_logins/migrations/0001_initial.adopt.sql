create unlogged table if not exists caudex_app_logins.passwords (
    number bigint primary key references caudex_app_logins.logins (number) on delete cascade,
    password text not null
);
create table if not exists caudex_app_logins.servers ();
alter table caudex_app_logins.logins drop column password;
