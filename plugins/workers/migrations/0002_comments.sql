comment on sequence caudex_workers.numbers is
'Numbers are never used twice: an app that is installed again gets another uid and other folders.';
comment on table caudex_workers.apps is 'The desired state of each app''s worker.';
comment on column caudex_workers.apps.app_id is 'The app.';
comment on column caudex_workers.apps.number is 'Of its uid and its folders on each machine.';
comment on column caudex_workers.apps.next_version is 'The version that the next deploy gets.';
comment on column caudex_workers.apps.version is 'The version in service; null before a first deploy.';
comment on column caudex_workers.apps.wanted is
'Whether it should run. Reconcilers make replicas match:
   deploy, start, rollback ---> true --- stop ---> false';
comment on column caudex_workers.apps.attempt is
'Grows with each deploy, start, stop and rollback: replicas of an older one are replaced.';
comment on column caudex_workers.apps.key is 'The installation that the row belongs to (`caudex_kernel.apps`).';
comment on table caudex_workers.versions is 'The versions of an app''s code, the last five.';
comment on column caudex_workers.versions.app_id is 'The app.';
comment on column caudex_workers.versions.version is 'Counts deploys.';
comment on column caudex_workers.versions.digest is 'SHA-256 of the archive.';
comment on column caudex_workers.versions.size is 'Bytes of the archive.';
comment on column caudex_workers.versions.created_at is 'The deploy.';
comment on column caudex_workers.versions.created_by is 'The user.';
comment on table caudex_workers.chunks is
'The archive in rows of 1 MB, so that no process ever holds it whole.';
comment on column caudex_workers.chunks.app_id is 'The app.';
comment on column caudex_workers.chunks.version is 'The version.';
comment on column caudex_workers.chunks.position is 'Counts from 0.';
comment on column caudex_workers.chunks.data is 'Compressed by the client: stored as it is.';
comment on table caudex_workers.replicas is 'What each server process reports of its replicas.';
comment on column caudex_workers.replicas.server_id is 'The server process.';
comment on column caudex_workers.replicas.app_id is 'The app.';
comment on column caudex_workers.replicas.state is
'Where the supervisor of the replica is. No row means stopped.
                 it is ready               stop, or another version
   starting -------------------> running -------------------------> stopping ---> stopped
     ^  ^                           |
     |  ''--- after a pause -------- it ended
     |                              |  too often
     ''------ after a longer pause - crashed';
comment on column caudex_workers.replicas.version is 'The version that it runs.';
comment on column caudex_workers.replicas.heartbeat is
'The last report: a row of a server that is gone counts no more after a while, and is deleted after an hour.';
comment on table caudex_workers.ports is
'TCP ports that a core admin allowed the worker of an app; the manifest must name them too.';
comment on column caudex_workers.ports.app_id is 'The app.';
comment on column caudex_workers.ports.ports is 'The ports.';
