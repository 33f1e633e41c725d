-- Each search, but that for a request, walks one of these from its newest end. They contain `id + 0`, so that
-- PostgreSQL never prefers the index on `id`: it would walk the whole trail backwards, in the hope of rows that are
-- rare or old. New rows are at the end of their group: with `-id` they were at its beginning, where PostgreSQL leaves
-- pages half empty.
drop index caudex_audit.log_kind, caudex_audit.log_record, caudex_audit.log_actor;
create index log_kind on caudex_audit.log
    (hashtextextended(table_schema || '.' || table_name || '.' || operation, 0), (id + 0));
create index log_record on caudex_audit.log (record_id, (id + 0));
create index log_actor on caudex_audit.log (actor_id, (id + 0));
