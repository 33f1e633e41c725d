-- The schema caudex_hello is made by the kernel. Files are never changed once they were released:
-- what is new comes in 0002_….sql.
create table caudex_hello.greetings (
    id bigint generated always as identity primary key,
    user_id uuid,
    text text not null,
    created_at timestamptz not null default now()
);
