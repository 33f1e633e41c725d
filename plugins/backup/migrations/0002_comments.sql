comment on table caudex_backup.last is
'The last backup in each folder, and the last one of it that a restore proved.';
comment on column caudex_backup.last.folder is 'The folder, as the machine that writes to it names it.';
comment on column caudex_backup.last.file is 'The newest backup.';
comment on column caudex_backup.last.made_at is 'When it was complete.';
comment on column caudex_backup.last.verified_file is 'The newest one that was restored on trial.';
comment on column caudex_backup.last.verified_at is 'When that was.';
