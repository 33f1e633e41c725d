comment on table caudex_idempotency.keys is
'Keys of requests that must act once, with their replies. A key is inserted in the transaction of the request that it '
'belongs to, so that it is there exactly if the request has acted; a second request waits for the first at this row.';
comment on column caudex_idempotency.keys.user_id is 'Whose key it is.';
comment on column caudex_idempotency.keys.route is 'The route that it was sent to.';
comment on column caudex_idempotency.keys.key is 'What the client sent as `Idempotency-Key`.';
comment on column caudex_idempotency.keys.body is 'The hash of the request: the same key with another body is refused.';
comment on column caudex_idempotency.keys.rights is
'The rights of the caller then: where those on the records of the reply have changed, it is not repeated.';
comment on column caudex_idempotency.keys.created_at is 'A key is forgotten after 24 hours.';
comment on column caudex_idempotency.keys.status is 'The status of the reply; null where the reply was not kept.';
comment on column caudex_idempotency.keys.headers is 'The headers of the reply.';
comment on column caudex_idempotency.keys.reply is 'The body of the reply.';
