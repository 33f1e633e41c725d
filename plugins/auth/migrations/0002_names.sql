-- Holds nothing: it is locked by whoever decides about names, or about who is first. An advisory lock is
-- open to every login of the database, those of apps among them.
create table caudex_auth.names ();
