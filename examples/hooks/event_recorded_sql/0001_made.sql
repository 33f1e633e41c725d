create table caudex_event_recorded.made (
    entity text primary key,
    total bigint not null
);
