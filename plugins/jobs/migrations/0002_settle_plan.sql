-- PostgreSQL planned the update of `settle` again for each batch, a tenth of its time for a job: the plan
-- for known outcomes has lower estimated costs. Both plans are the same: a join by the primary key.
alter function caudex_jobs.settle set plan_cache_mode = force_generic_plan;
