-- When the app was born whose trail begins there. The server may have been without this plugin while one was
-- removed and another of its name installed. 0 are those that were there before births were noted.
alter table caudex_audit.lives add column born bigint not null default 0;
