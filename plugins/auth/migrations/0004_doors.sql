alter table caudex_auth.sessions add column installation bigint;
comment on column caudex_auth.sessions.installation is
'The installation key of the app through whose host the user signed in; null for the host of the server. Tokens of the '
'session are good at this door only, for life, and end with the installation.';
