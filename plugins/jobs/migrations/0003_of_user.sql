-- The jobs of one user, for callers that may see no others.
create index jobs_of_user on caudex_jobs.jobs (app_id, user_id, status, created_at, id) where user_id is not null;
