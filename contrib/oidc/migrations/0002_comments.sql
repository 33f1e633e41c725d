comment on table caudex_oidc.links is
'The account of each subject, which never changes. Accounts belong to another plugin, so nothing references them.';
comment on column caudex_oidc.links.issuer is 'The identity provider.';
comment on column caudex_oidc.links.subject is 'Its name for the person (claim `sub`).';
comment on column caudex_oidc.links.user_id is 'The account.';
comment on column caudex_oidc.links.created_at is 'The first sign-in.';
comment on table caudex_oidc.granted is
'Roles that a claim assigned and can revoke; those that admins assigned are not its own.';
comment on column caudex_oidc.granted.user_id is 'The account.';
comment on column caudex_oidc.granted.app_id is 'The app, or `core`.';
comment on column caudex_oidc.granted.role is 'The role.';
comment on table caudex_oidc.handovers is 'Codes that a page exchanges for a session, once.';
comment on column caudex_oidc.handovers.code_hash is 'The hash of the code.';
comment on column caudex_oidc.handovers.challenge is
'A hash. Only the page that began the sign-in knows the text that it is of.';
comment on column caudex_oidc.handovers.user_id is 'The account.';
comment on column caudex_oidc.handovers.expires_at is 'After this time the code is worth nothing.';
