comment on table caudex_cron.apps is 'The apps whose manifests have schedules.';
comment on column caudex_cron.apps.app_id is 'The app.';
comment on column caudex_cron.apps.stamp is
'The stamp of the manifest that was read: an older one never overwrites a newer one, when servers read them at the same '
'time.';
comment on table caudex_cron.crons is 'The schedules.';
comment on column caudex_cron.crons.id is 'Its runs name it.';
comment on column caudex_cron.crons.app_id is 'The app.';
comment on column caudex_cron.crons.name is 'Unique in the app.';
comment on column caudex_cron.crons.place is 'Its place in the manifest.';
comment on column caudex_cron.crons.schedule is 'Five fields, as in crontab(5).';
comment on column caudex_cron.crons.timezone is 'The time zone of the schedule.';
comment on column caudex_cron.crons.overlap is
'What happens at a due time while the job of the last one is pending or runs: none, one more after it, or one beside it.';
comment on column caudex_cron.crons.payload is 'The payload of its jobs.';
comment on column caudex_cron.crons.enabled is 'Whether it fires.';
comment on column caudex_cron.crons.declared is
'`enabled` in the latest manifest; admins may have changed `enabled` since.';
comment on column caudex_cron.crons.next_due is 'The next due time.';
comment on column caudex_cron.crons.last_job is 'The job of the last run that fired.';
comment on index caudex_cron.runs_once is 'A due time fires once: two runs of it cannot be stored.';
comment on table caudex_cron.runs is 'What became of due times.';
comment on column caudex_cron.runs.id is 'Grows.';
comment on column caudex_cron.runs.cron_id is 'The schedule.';
comment on column caudex_cron.runs.due is 'The due time.';
comment on column caudex_cron.runs.at is 'When the row got its state.';
comment on column caudex_cron.runs.state is
'How the due time was delivered.
   due time --- the queue takes a job ------------------------------> fired
      |                                                                ^
      |--- the last job is not over, overlap "queue" ---> waiting -----''  when it is over
      |                                                      |
      |                                                      ''--------> failed
      |--- the last job is not over, overlap "skip" ------------------> skipped
      |--- no server ran at the time ---------------------------------> missed
      ''--- the queue refuses the job ---------------------------------> failed';
comment on column caudex_cron.runs.job_id is 'The job; null unless it fired.';
comment on column caudex_cron.runs.missed is 'The due times before `due` at which no server ran.';
comment on column caudex_cron.runs.detail is 'Why it did not fire.';
comment on column caudex_cron.runs.triggered_by is 'The user that triggered it by hand; null for a due time.';
comment on function caudex_cron.shown is 'A run as REST shows it.';
