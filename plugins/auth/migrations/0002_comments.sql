comment on table caudex_auth.users is
'Accounts. Names are compared by their keys, folded by the server: lower() depends on the collation of the database, '
'and knows nothing but ASCII under "C".';
comment on column caudex_auth.users.id is 'The id of the user in every table of every plugin.';
comment on column caudex_auth.users.username is 'As it was entered.';
comment on column caudex_auth.users.username_key is 'The folded name.';
comment on column caudex_auth.users.email is 'As it was entered.';
comment on column caudex_auth.users.email_key is 'The folded address.';
comment on column caudex_auth.users.display_name is 'What pages show in place of the name.';
comment on column caudex_auth.users.password_hash is 'Argon2id, with its parameters.';
comment on column caudex_auth.users.disabled is 'A closed account: it has no sessions and no delegations.';
comment on column caudex_auth.users.created_at is 'The registration.';
comment on column caudex_auth.users.updated_at is 'The last change of the account.';
comment on column caudex_auth.users.withdrawals is
'The epoch: how often the tokens that workers have for the user were revoked, by a new password or by closing the '
'account. A token holds the count of its time, and is valid while it is the same. A count, as tokens know whole '
'seconds only.';
comment on column caudex_auth.users.password_temporary is
'An admin has set the password: it must be changed before anything else.';
comment on table caudex_auth.sessions is
'One row is one login with its chain of refresh tokens, of which only hashes are stored.';
comment on column caudex_auth.sessions.id is 'Part of each token of the session.';
comment on column caudex_auth.sessions.user_id is 'Who signed in.';
comment on column caudex_auth.sessions.created_at is 'The login.';
comment on column caudex_auth.sessions.last_used_at is 'The last refresh.';
comment on column caudex_auth.sessions.expires_at is 'After this time no refresh token of it is valid.';
comment on column caudex_auth.sessions.revoked_at is 'A logout, or the revocation by the user or an admin.';
comment on column caudex_auth.sessions.address is 'The client''s address at the login.';
comment on column caudex_auth.sessions.user_agent is 'The client''s program at the login.';
comment on column caudex_auth.sessions.parent_hash is
'The refresh token before the current one, which has its grace.
   next ------ it is used ------> current ------ its successor is used ------> parent
     ^                                                                           |
     ''-- handed out by a refresh                        valid for the grace <----''
Any other token of the chain is a stolen one: it revokes the session.';
comment on column caudex_auth.sessions.current_hash is 'The refresh token in use.';
comment on column caudex_auth.sessions.next_hash is 'The successor that was handed out and was not used yet.';
comment on column caudex_auth.sessions.advanced_at is 'When the current one became it: the grace begins.';
comment on column caudex_auth.sessions.external is
'A session without a password, which another plugin began: that one is responsible for a second factor.';
comment on table caudex_auth.throttle is 'Failed logins, by account and network: the lockout.';
comment on column caudex_auth.throttle.key is 'Of an account at a network, or of a network.';
comment on column caudex_auth.throttle.failures is 'How many in a row.';
comment on column caudex_auth.throttle.since is 'The first of them.';
comment on column caudex_auth.throttle.failed_at is 'The last of them; rows of the last hour are kept.';
comment on column caudex_auth.throttle.blocked_until is 'Until then a login is refused without a look at the password.';
comment on table caudex_auth.networks is
'Networks from which an account signed in lately: failed logins there are counted apart from those of strangers, who '
'could lock the owner out otherwise. Not a column of sessions, which end with a logout. No foreign key: a refresh holds '
'its session when it writes here, and would wait for the account''s row, whose holder waits for the session.';
comment on column caudex_auth.networks.user_id is 'The account.';
comment on column caudex_auth.networks.network is 'A /24 of IPv4, or a /64 of IPv6.';
comment on column caudex_auth.networks.seen_at is 'The last login from there.';
comment on table caudex_auth.setup is
'The nonce of the setup token, until the first account exists; at most one row.';
comment on column caudex_auth.setup.single is 'Always true: there is one row at most.';
comment on column caudex_auth.setup.nonce is 'A token holds it: another start of the server makes no second token.';
comment on table caudex_auth.totp is 'The second factor of accounts that have one: time-based codes (RFC 6238).';
comment on column caudex_auth.totp.user_id is 'The account.';
comment on column caudex_auth.totp.sealed is
'The secret of the codes, sealed with a key that is derived from the signing key.';
comment on column caudex_auth.totp.confirmed_at is 'When a first code was entered: without it the setup is not finished.';
comment on column caudex_auth.totp.last_step is 'The time step (30 s) of the newest code that was used: a code works once.';
comment on table caudex_auth.recovery_codes is 'What signs in once where the device with the codes is lost.';
comment on column caudex_auth.recovery_codes.user_id is 'The account.';
comment on column caudex_auth.recovery_codes.code_hash is 'The hash of a code; a row is deleted when its code is used.';
