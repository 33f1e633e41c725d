comment on table caudex_identity_header.users is
'Accounts; the first request of a user creates one. Names are compared by their keys, folded by the server: lower() '
'depends on the collation.';
comment on column caudex_identity_header.users.id is 'The id of the user in every table of every plugin.';
comment on column caudex_identity_header.users.username is 'As the proxy sent it.';
comment on column caudex_identity_header.users.username_key is 'The folded name.';
comment on column caudex_identity_header.users.email is 'As the proxy sent it.';
comment on column caudex_identity_header.users.email_key is 'The folded address.';
comment on column caudex_identity_header.users.display_name is 'What pages show in place of the name.';
comment on column caudex_identity_header.users.disabled is 'A closed account: its requests are refused.';
comment on column caudex_identity_header.users.created_at is 'The first request.';
