alter table caudex_jobs.jobs add column request_id text;
create index jobs_of_request on caudex_jobs.jobs using brin (request_id text_bloom_ops) with (pages_per_range = 32);

create function caudex_jobs.of_request(request text, max_rows integer) returns json
language sql stable
set search_path = '' set enable_seqscan = off as $$
    select json_agg(json_build_object('app', n.app_id, 'id', n.id, 'state', n.status,
        'at', caudex_jobs.shown_time(n.created_at)) order by n.created_at, n.id)
    from (
        select j.app_id, j.id, j.status, j.created_at from caudex_jobs.jobs as j
        where j.request_id = request
        order by j.created_at, j.id limit max_rows
    ) as n
$$;

comment on column caudex_jobs.jobs.request_id is
'The request that enqueued it (`X-Request-Id`), or the job whose worker did; null without one.';
comment on index caudex_jobs.jobs_of_request is
'For the trace of a request, which is read rarely: a B-tree would have a new entry for each claim and each outcome. What '
'this one has no summary of yet is read as it is: the rows since the last vacuum.';
comment on function caudex_jobs.of_request is
'The jobs that a request enqueued. PostgreSQL takes a Bloom filter for as bad as reading the whole table, so it is forbidden '
'to do that.';
