create table caudex_frontends.sign_in_codes (
    code_hash text primary key,
    app_id text not null references caudex_kernel.apps (app_id) on delete cascade,
    challenge text not null,
    user_id uuid not null,
    session_id uuid not null,
    expires_at timestamptz not null
);
create index sign_in_codes_user on caudex_frontends.sign_in_codes (user_id, expires_at);
create index sign_in_codes_expiry on caudex_frontends.sign_in_codes (expires_at);
comment on table caudex_frontends.sign_in_codes is
'Codes that continue a session of the server on the host of an app. A row is deleted when its code is used.';
comment on column caudex_frontends.sign_in_codes.code_hash is 'SHA-256 of the code, in hex.';
comment on column caudex_frontends.sign_in_codes.app_id is 'The app, on whose host alone the code works.';
comment on column caudex_frontends.sign_in_codes.challenge is
'SHA-256 of the verifier that only the browser has which began the sign-in (RFC 7636, S256).';
comment on column caudex_frontends.sign_in_codes.user_id is 'Who is signed in at the server.';
comment on column caudex_frontends.sign_in_codes.session_id is
'The session at the server: the code works only as long as it goes on.';
comment on column caudex_frontends.sign_in_codes.expires_at is 'A minute after the code was made.';

create table caudex_frontends.sealing (
    single boolean primary key default true check (single),
    key text not null
);
insert into caudex_frontends.sealing (key) values
    (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
comment on table caudex_frontends.sealing is
'The key of the cookies of sessions on apps'' hosts. It opens nothing without the cookie, nor the cookie without it.';
comment on column caudex_frontends.sealing.single is 'Always true: there is one row.';
comment on column caudex_frontends.sealing.key is '32 bytes in hex, of which 244 bits are random.';
