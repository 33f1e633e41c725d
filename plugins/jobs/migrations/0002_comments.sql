comment on table caudex_jobs.jobs is
'Jobs of apps'' workers, and of plugins that handle jobs of their own. A job runs at least once.';
comment on column caudex_jobs.jobs.id is 'UUID of version 7: the time of the enqueue orders ids.';
comment on column caudex_jobs.jobs.app_id is 'The app, or `plugin:<name>`.';
comment on column caudex_jobs.jobs.status is
'One of five states; `due` and `quarantined` say more about a pending one.
             enqueue
                |
                v           claim                  settle
             pending -------------------> running --------> completed
              |   ^                        | | |
              |   ''-------- again ---------'' | ''----------> failed
              |                              |
              |  cancel                      |  settle, where it was cancelled meanwhile
              ''----------> cancelled <-------''
It is pending again after an error with attempts left (`settle`), after a claim that no worker got (`release`), and when '
'its lease expires (`expire`). It fails after its last attempt, and as a poison job. A retry by an admin makes a new job.';
comment on column caudex_jobs.jobs.due is
'The time of a pending job has come. So the index for claims holds no scheduled jobs, however many there are.
   pending, not due --- promote_due, at run_at ---> pending, due --- claim ---> running';
comment on column caudex_jobs.jobs.quarantined is
'It was running when a worker crashed or a lease expired: it runs alone until it ends regularly.
   false --- a crash, or `expire` ---> true --- it ends regularly ---> false
                                       |  ^
                                       ''--'' once more: `worker_crashes` or `lease_expiries` grows';
comment on column caudex_jobs.jobs.priority is 'Jobs of a higher priority are claimed first.';
comment on column caudex_jobs.jobs.attempts is 'Starts.';
comment on column caudex_jobs.jobs.failures is 'Attempts that the handler ended with an error.';
comment on column caudex_jobs.jobs.worker_crashes is 'Crashes of the worker while the job ran alone.';
comment on column caudex_jobs.jobs.lease_expiries is 'Leases that expired while the job ran alone.';
comment on column caudex_jobs.jobs.max_attempts is 'After so many failures the job fails.';
comment on column caudex_jobs.jobs.timeout_s is 'Seconds that one attempt may take.';
comment on column caudex_jobs.jobs.user_id is 'On whose behalf it runs; null for the server.';
comment on column caudex_jobs.jobs.key is 'Idempotency key: one pending or running job of the app has it.';
comment on column caudex_jobs.jobs.run_at is 'Not before this time.';
comment on column caudex_jobs.jobs.created_at is 'When it was enqueued.';
comment on column caudex_jobs.jobs.updated_at is 'The last change; a heartbeat changes nothing here.';
comment on column caudex_jobs.jobs.cancelled_at is 'When someone asked to cancel it; a running job ends later.';
comment on column caudex_jobs.jobs.ended_at is 'When it reached its last state.';
comment on column caudex_jobs.jobs.lease_token is
'The claim that it runs under; null unless it is running. Who has no such token changes nothing of a running job.';
comment on column caudex_jobs.jobs.lease_until is
'When the lease expires, unless a heartbeat renews it. No index has the columns of the lease.';
comment on column caudex_jobs.jobs.error is 'What the last attempt failed with.';
comment on column caudex_jobs.jobs.payload is 'What the handler gets: json, not jsonb, so the text is returned unchanged.';
comment on column caudex_jobs.jobs.result is 'What the handler returned.';
comment on column caudex_jobs.jobs.progress is 'What the running attempt reported last.';
comment on column caudex_jobs.jobs.delegation_ends is
'The end of the delegation by which handlers act for the user. A job that a worker enqueues inherits it from the '
'worker''s call. Otherwise it begins with the first claim, and later starts do not extend it. It ends at a full hour, '
'so that jobs of one hour share their tokens.';
comment on column caudex_jobs.jobs.delegation_epoch is 'The epoch of the user''s account when the delegation began.';
comment on column caudex_jobs.jobs.unavailable is
'Attempts in a row that ended because something was unavailable: they are no failures.';
comment on column caudex_jobs.jobs.started_at is 'When the job was started last.';
comment on column caudex_jobs.jobs.earlier is
'The attempts before that which ended without a result: [{"started_at", "ended_at", "error"}], the last twenty.';
comment on index caudex_jobs.jobs_ready is 'The order of claims.';
comment on index caudex_jobs.jobs_running is 'No index contains the columns of the lease: a heartbeat updates none.';
comment on index caudex_jobs.jobs_of_user is 'The jobs of one user, for callers that may see no others.';

-- Frequent statements are functions with planner settings: PostgreSQL keeps the plan that it made when the
-- table was empty, and a sequential scan must not be in it when a million jobs are pending.
comment on function caudex_jobs.shown is 'A job as REST shows it.';
comment on function caudex_jobs.claim is
'Claim jobs: for each app up to `free` of them, or one quarantined job alone when no other runs (`idle`). While a '
'quarantined job has waited for `patience`, a busy worker claims nothing more. After twelve times `patience` it runs '
'beside others, since jobs may take hours, and nothing is claimed until it has ended. If it crashes the worker, the '
'next one is idle at its start and takes it alone. After a crash of PostgreSQL a lost claim is a lost lease, so it '
'does not wait for the disk.';
comment on function caudex_jobs.settle is
'Store the outcomes of jobs that `token` still leases. A job that was cancelled while it ran is cancelled, whatever '
'its outcome. Pending with a `delay` (seconds) is a retry. Functions find a running job by its lease token alone: with '
'the status in the condition, PostgreSQL would compare all running jobs with each outcome. PostgreSQL would plan the '
'update again for each batch, a tenth of its time for a job: both plans are a join by the primary key, so the generic '
'one is forced. It is the only one of these functions that waits for the disk.';
comment on function caudex_jobs.report is 'Store the progress of jobs.';
comment on function caudex_jobs.renew is
'Renew leases; return those that still hold, and which of their jobs were cancelled.';
comment on function caudex_jobs.release is
'Release the jobs of claims whose answer was lost: no worker has started them.';
comment on function caudex_jobs.promote_due is
'Make scheduled jobs due whose time has come. Return their apps, and the seconds until the next time, null when no job '
'is scheduled.';
comment on function caudex_jobs.expire is
'Take back jobs whose lease has expired, and quarantine them; return the app of each.';
comment on function caudex_jobs.shown_time is 'A time as the API shows it.';
comment on function caudex_jobs.note_attempt is
'An attempt that makes the job pending again is kept, unless the worker never had it: `attempts` is then lower. An '
'expired lease leaves `error` as it was.';
