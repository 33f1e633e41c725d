comment on sequence caudex_audit.log_id is 'Ids of the trail, for all its partitions.';
comment on table caudex_audit.log is
'The trail: one row for each change, append-only, partitioned by months (UTC) that the server makes ahead of time. Each '
'search, but that for a request, walks one index from its newest end, so its cost does not grow with the trail. The '
'rows of a statement differ in their records only, so not each has an entry in the indexes of kinds, actors and '
'requests: one is enough for the rows of a statement in a block of 16 ids. A search looks for blocks and reads them by '
'the index on `id`.';
comment on column caudex_audit.log.id is
'Grows; rows of one transaction are not next to each other. Blocks are of 16 ids: id >> 4.';
comment on column caudex_audit.log.table_schema is 'The app, or `core` for what the system reports of itself.';
comment on column caudex_audit.log.table_name is 'The entity.';
comment on column caudex_audit.log.record_id is 'The id of the record as text.';
comment on column caudex_audit.log.operation is 'INSERT, UPDATE, DELETE, TRUNCATE, or an operation of the system.';
comment on column caudex_audit.log.old_record is 'The record before; null for a creation.';
comment on column caudex_audit.log.new_record is 'The record after; null for a deletion.';
comment on column caudex_audit.log.changed_at is 'The begin of the transaction; it names the partition.';
comment on column caudex_audit.log.actor_id is 'The user; null for the server itself and for a worker''s own login.';
comment on column caudex_audit.log.request_id is 'The request (`X-Request-Id`).';
comment on column caudex_audit.log.xid is
'Orders rows by commits: all of a transaction are visible together, and none below '
'pg_snapshot_xmin(pg_current_snapshot()) can follow. Rows that are older than the column have 0.';
comment on column caudex_audit.log.app_key is 'The installation that the row is of (`caudex_kernel.apps`).';
comment on column caudex_audit.log.owner_id is 'The owner of the record after the change.';
comment on column caudex_audit.log.follows is
'True for a row without an entry in the indexes of blocks: another row of its statement and block has one.';
comment on index caudex_audit.log_kind is
'Has the hash of a kind: to compare three texts takes several times as long, and their entries are larger.';
comment on index caudex_audit.log_record is
'Contains `id + 0`, and is searched in that order, so that PostgreSQL never prefers the index on `id`: it would walk '
'the whole trail backwards, in the hope of rows that are rare or old.';
comment on index caudex_audit.log_request is
'The rows of a request share one key here; in a hash index each would walk a chain of pages to its end.';
comment on table caudex_audit.kinds is
'Which tables and operations the trail knows: a search for a part of (schema, table, operation) looks the whole ones up '
'here, and one index serves them all.';
comment on column caudex_audit.kinds.table_schema is 'As in the trail.';
comment on column caudex_audit.kinds.table_name is 'As in the trail.';
comment on column caudex_audit.kinds.operation is 'As in the trail.';
comment on table caudex_audit.apps is
'Where the trail of an installed app begins. Rows before are of a former app of the same name, which can have belonged '
'to other people.';
comment on column caudex_audit.apps.app_id is 'The installed app.';
comment on column caudex_audit.apps.begins is 'Rows of the app with a greater id are its own.';
comment on function caudex_audit.refuse is
'Statement triggers, on the trail and on each partition: they refuse even what matches no row, and also in a session '
'that switches ordinary triggers off. Here and below the search path is not empty: PostgreSQL would look for names of '
'types in the session''s own temporary schema first, where a login could make a type `jsonb` whose check runs with the '
'rights of the server.';
comment on function caudex_audit.shrunk is
'Replaces a value over 1 MB (10^6 bytes of text) by its length and SHA-256. The size of the whole row is known without '
'looking at its values, so an ordinary row costs one comparison.';
comment on table caudex_audit.log_default is
'What no month was made for; empty as long as a server runs now and then.';
comment on function caudex_audit.hidden is
'Columns that the trail leaves out: the owner has a column of its own, and the words of a search are computed. It is '
'inlined.';
comment on function caudex_audit.as_json_in_utc is
'Timestamps are in UTC and numbers complete, whatever the session''s settings.';
comment on function caudex_audit.in_utc is
'Whether this session has these settings, as the server''s own have: to set them again for each row takes longer than to '
'make its JSON. It is inlined.';
comment on function caudex_audit.record is
'Attached to every entity table, with the app''s key as argument. It runs as the server''s own role, so a login that may '
'write the table needs no right on the trail, and has none. A few bytes that change one value of a large row must not '
'write all its others into the trail, twice. In a row over 1 MB (10^6 bytes) the values that an update leaves alone are '
'replaced by their length and SHA-256, the largest first, until the row is no larger than that: the value itself is in '
'the row of the trail that recorded its last change.';
comment on function caudex_audit.record_all is
'Rows that a statement creates or deletes reach the trail by one statement too: for 1,000 rows that is half of the work '
'of a call for each. It is a trigger `after insert` or `after delete` that names its rows `changed`. The alias `_r` of a '
'whole row is a name that no field can have. An update stays with `record`: its old and new rows have no key that pairs '
'them, and a single one is what people write. A session keeps one plan for the statement: PostgreSQL would rather plan '
'it again where the first calls of a session recorded many rows, a fifth of its time for a single record.';
comment on function caudex_audit.switched is
'Called where the plugin is switched off or on. While it is off its triggers are; the trail itself says from when to '
'when it recorded nothing.';
