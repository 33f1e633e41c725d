-- How often the tokens were withdrawn that workers have for a user: by a new password, or because the account
-- was closed. A token says the number of its time, and holds while it is still that. By number and not by time,
-- as tokens know whole seconds only.
alter table caudex_auth.users add column withdrawals integer not null default 0;
