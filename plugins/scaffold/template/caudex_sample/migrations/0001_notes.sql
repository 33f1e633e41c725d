-- The schema is made by the kernel. This file is never changed once it was released.
create table caudex_sample.notes (
    id bigint generated always as identity primary key,
    author uuid,
    text text not null,
    created_at timestamptz not null default now()
);
