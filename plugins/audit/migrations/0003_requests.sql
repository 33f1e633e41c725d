-- Everything of one request, however long ago it was.
create index log_request on caudex_audit.log using hash (request_id);
