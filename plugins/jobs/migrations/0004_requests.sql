alter table caudex_jobs.jobs add column request_id text;
create index jobs_of_request on caudex_jobs.jobs using brin (request_id text_bloom_ops) with (pages_per_range = 32);
comment on column caudex_jobs.jobs.request_id is
'The request that enqueued it (`X-Request-Id`), or the job whose worker did; null without one.';
comment on index caudex_jobs.jobs_of_request is
'For the trace of a request, which is read rarely: a B-tree would have a new entry for each claim and each outcome. What '
'this one has no summary of yet is read as it is: the rows since the last vacuum.';
