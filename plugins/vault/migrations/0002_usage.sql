-- When a secret was last given to a worker, and to which app's.
alter table caudex_vault.secrets add column used_at timestamptz, add column used_by text;
