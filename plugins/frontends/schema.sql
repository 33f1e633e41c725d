-- The schema caudex_frontends as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.

-- Which version of each app's frontend is in service.
create table caudex_frontends.apps (
    app_id text not null,  -- The app.
    key bigint not null,  -- The installation that the row belongs to (`caudex_kernel.apps`).
    last_version integer not null default 1,  -- The number that the last deploy got.
    -- The version in service:
    --    null --- deploy ---> a version --- deploy, rollback ---> another version
    --      ^                     |
    --      '------ delete -------'
    version integer,
    primary key (app_id),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);

-- The versions of an app's frontend, the last five.
create table caudex_frontends.versions (
    app_id text not null,  -- The app.
    version integer not null,  -- Counts deploys.
    digest text not null,  -- SHA-256 of the archive.
    size bigint not null,  -- Bytes of the archive.
    bundle text not null,  -- SHA-256 of the bundle: the files of the archive as they are sent, compressed ones too.
    created_at timestamptz not null default now(),  -- The deploy.
    created_by uuid,  -- The user.
    -- When another version followed it in service; null before that. For a day after that its hashed files are still
    -- sent.
    replaced_at timestamptz,
    primary key (app_id, version),
    foreign key (app_id) references caudex_frontends.apps(app_id) on delete cascade
);

-- The bundle in rows of 1 MB, so that no process ever holds it whole.
create table caudex_frontends.chunks (
    app_id text not null,  -- The app.
    version integer not null,  -- The version.
    position integer not null,  -- Counts from 0.
    data bytea storage external not null,  -- Mostly compressed already: stored as it is.
    primary key (app_id, version, "position"),
    foreign key (app_id, version) references caudex_frontends.versions(app_id, version) on delete cascade
);

-- This deployment of Caudex, one row.
create table caudex_frontends.installation (
    -- A part of the cookie by which a browser notices that its host has another app.
    id uuid not null default gen_random_uuid(),
    single boolean not null default true,  -- Keeps a second row out.
    primary key (id),
    unique (single),
    check (single)
);

-- Codes that continue a session of the server on the host of an app. A row is deleted when its code is used.
create table caudex_frontends.sign_in_codes (
    code_hash text not null,  -- SHA-256 of the code, in hex.
    app_id text not null,  -- The app, on whose host alone the code works.
    -- SHA-256 of the verifier that only the browser has which began the sign-in (RFC 7636, S256).
    challenge text not null,
    user_id uuid not null,  -- Who is signed in at the server.
    session_id uuid not null,  -- The session at the server: the code works only as long as it goes on.
    expires_at timestamptz not null,  -- A minute after the code was made.
    primary key (code_hash),
    foreign key (app_id) references caudex_kernel.apps(app_id) on delete cascade
);
create index sign_in_codes_user on caudex_frontends.sign_in_codes (user_id, expires_at);
create index sign_in_codes_expiry on caudex_frontends.sign_in_codes (expires_at);

-- The key of the cookies of sessions on apps' hosts. It opens nothing without the cookie, nor the cookie without it.
create table caudex_frontends.sealing (
    single boolean not null default true,  -- Always true: there is one row.
    key text not null,  -- 32 bytes in hex, of which 244 bits are random.
    primary key (single),
    check (single)
);
