comment on table caudex_system.switches is
'Whether each plugin that must know is on. Such a plugin has a function caudex_<plugin>.switched(enabled boolean, since '
'timestamptz), which is called at each change.';
comment on column caudex_system.switches.plugin is 'The plugin.';
comment on column caudex_system.switches.enabled is 'What its function was called with last.';
comment on column caudex_system.switches.since is 'When this state began; the function gets it at the next change.';
comment on table caudex_system.processes is 'The server processes that run. A row of a killed one expires.';
comment on column caudex_system.processes.id is 'Chosen by the process at its start.';
comment on column caudex_system.processes.plugins is 'Those that it runs.';
comment on column caudex_system.processes.expires is 'Half a minute after the last sign of life.';
