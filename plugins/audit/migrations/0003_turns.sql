-- Holds nothing: it is locked by whoever makes or drops a month. An advisory lock is open to every login of
-- the database, those of apps among them.
create table caudex_audit.turns ();
