-- replaces: 0001_schema.sql
create table caudex_backup.last (
    folder text primary key,
    file text not null,
    made_at timestamptz not null,
    verified_file text,
    verified_at timestamptz
);
