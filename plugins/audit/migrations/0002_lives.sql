-- From which row on the trail of an app is that of the one that is installed: a former app of the same
-- name can have been somebody else's. An app without a row here has had its name all along.
create table caudex_audit.lives (
    app_id text collate "C" primary key,
    begins bigint not null
);
