alter table caudex_logs.lines add column request_id text;
create index lines_of_request on caudex_logs.lines (request_id) where request_id is not null;
comment on column caudex_logs.lines.request_id is
'The request (`X-Request-Id`) or job that the handler served when it wrote the line; null where it is not known.';
