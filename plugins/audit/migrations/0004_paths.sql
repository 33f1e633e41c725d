-- With an empty path PostgreSQL looks for names of types and tables in the session's own schema first, and whoever
-- may write a table can make a type `jsonb` there, whose check then runs with the rights of the server.
alter function caudex_audit.refuse() set search_path = pg_catalog, pg_temp;
alter function caudex_audit.shrunk(jsonb) set search_path = pg_catalog, pg_temp;
alter function caudex_audit.record() set search_path = pg_catalog, pg_temp;
-- Else the session says how many digits of a number are told.
alter function caudex_audit.record() set extra_float_digits = 1;
