comment on table caudex_logs.lines is 'What workers write, and what the server says about them.';
comment on column caudex_logs.lines.id is
'Grows in the order in which lines become visible within an app: a transaction that writes lines of an app locks '
'`logs.lines:<app>` until it commits. Readers go on from the last id they saw.';
comment on column caudex_logs.lines.app_id is 'The app.';
comment on column caudex_logs.lines.level is 'debug, info, warn, error; `system` for lines of the server.';
comment on column caudex_logs.lines.message is 'The line; secrets are masked.';
comment on column caudex_logs.lines.ts is 'When it was written.';
