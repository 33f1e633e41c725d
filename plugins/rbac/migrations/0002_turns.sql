-- Rows that are only locked, by whoever gives roles to a user or closes the account: the user's is the one
-- whose number the id hashes to. An advisory lock is open to every login of the database, those of apps
-- among them.
create table caudex_rbac.turns (number integer primary key);
insert into caudex_rbac.turns select generate_series(0, 255);
