create table caudex_audit.seals (
    number bigint primary key,
    statement text not null,
    signature bytea not null,
    last_id bigint not null,
    until timestamptz
);
create trigger refuse before update or delete or truncate on caudex_audit.seals
    for each statement execute function caudex_audit.refuse();
alter table caudex_audit.seals enable always trigger refuse;
revoke update, delete, truncate on caudex_audit.seals from current_user;
create index seals_last_id on caudex_audit.seals (last_id);
create index seals_until on caudex_audit.seals (until);

create table caudex_audit.seal_entries (
    seal bigint primary key,
    entries bytea not null
);
alter table caudex_audit.seal_entries alter column entries set storage external;

create table caudex_audit.witnessed (
    single boolean primary key default true check (single),
    seal bigint not null
);

comment on table caudex_audit.seals is
'The chain of seals, append-only: each vouches for the rows of the trail whose ids are above the last one of the seal '
'before, up to its own. The key that signs them is not in the database.';
comment on column caudex_audit.seals.number is 'Grows by one.';
comment on column caudex_audit.seals.statement is
'What is signed, as JSON: the range of ids, the Merkle root of the rows (RFC 6962), the SHA-256 of their entries and of '
'the statement of the seal before. The other columns repeat parts of it, to find seals.';
comment on column caudex_audit.seals.signature is 'Ed25519 (RFC 8032), over the bytes of the statement.';
comment on column caudex_audit.seals.last_id is 'The greatest id that it vouches for.';
comment on column caudex_audit.seals.until is
'The latest `changed_at` of its rows; null where it has none, as where it announces that months are dropped.';
comment on table caudex_audit.seal_entries is
'What finds the row that was changed behind a seal, until retention has dropped all rows of the seal.';
comment on column caudex_audit.seal_entries.seal is 'The number of the seal.';
comment on column caudex_audit.seal_entries.entries is
'48 bytes for each row, by id: the id, `changed_at` in microseconds since 2000 (both big-endian), and the hash of the '
'row, which is a leaf of the Merkle tree. Not compressed: hashes cannot be.';
comment on table caudex_audit.witnessed is 'How far the witness has the chain; one row at most.';
comment on column caudex_audit.witnessed.single is 'True: there is one row.';
comment on column caudex_audit.witnessed.seal is 'The last seal that the witness has.';
