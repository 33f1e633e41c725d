-- Any role was enough to see the jobs and the log of an app: the roles that there are keep that.
update caudex_rbac.roles
set permissions = permissions || array['core:jobs.read', 'core:jobs.manage', 'core:logs.read']
where app_id <> 'core' and name <> 'admin' and not permissions @> array['core:jobs.read'];
