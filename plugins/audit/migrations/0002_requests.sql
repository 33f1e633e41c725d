-- The rows of one request share one key. In a hash index they fill a chain of pages that each new row walks to its
-- end: an import of 100,000 rows took half as long again. A B-tree holds them as one key with a list of rows.
drop index caudex_audit.log_request;
create index log_request on caudex_audit.log (request_id) where request_id is not null;
