-- Rows that are only locked: those of apps by whoever writes lines, -1 by whoever sweeps. An app's is the
-- one whose number its id hashes to. An advisory lock is open to every login of the database, those of
-- apps among them, and who holds one for ever would stop the logs of others.
create table caudex_logs.turns (number integer primary key);
insert into caudex_logs.turns select generate_series(-1, 255);
