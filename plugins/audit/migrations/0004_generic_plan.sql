-- A session keeps one plan for the statement of each trigger. PostgreSQL would rather plan it again for each call where
-- the first ones of a session recorded many rows: a fifth of its time for a single record.
alter function caudex_audit.record_all set plan_cache_mode = force_generic_plan;
