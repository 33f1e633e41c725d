-- What workers of `app_id` may do on `target` on behalf of users that hold the same permissions there.
create table caudex_rbac.grants (
    app_id text not null references caudex_rbac.apps on delete cascade,
    target text not null references caudex_rbac.apps on delete cascade,
    permissions text[] not null,
    primary key (target, app_id)
);
create index grants_by_app on caudex_rbac.grants (app_id);
