-- What is installed. The stored manifest is what was sent; the model is what became of it.
create table caudex_apps.apps (
    id text primary key,
    name text not null,
    version text not null,
    manifest json not null,
    model json not null,
    stamp bigint not null,
    installed_by uuid,
    installed_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Grows with each install: what is compiled for one state of an app is good for that stamp only.
create sequence caudex_apps.stamps;

-- What an install made in an app's schema, and what is retired: gone from the manifest, kept with
-- its data. What is in neither table was added by hand and is left alone.
create table caudex_apps.entities (
    app_id text not null references caudex_apps.apps on delete cascade,
    name text not null,
    retired_at timestamptz,
    primary key (app_id, name)
);

create table caudex_apps.columns (
    app_id text not null,
    entity text not null,
    name text not null,
    retired_at timestamptz,
    primary key (app_id, entity, name),
    foreign key (app_id, entity) references caudex_apps.entities on delete cascade
);

create function caudex_apps.touch() returns trigger
language plpgsql set search_path = '' as $$
begin
    new.updated_at := now();
    return new;
end $$;
