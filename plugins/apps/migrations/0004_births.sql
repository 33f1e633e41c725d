-- The stamp of an app's first install: by it others tell an app from a former one of its name. 0 are those
-- that were there already, and what a server of an earlier release installs while it still runs.
alter table caudex_apps.apps add column born bigint not null default 0;
