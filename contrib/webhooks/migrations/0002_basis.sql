alter table caudex_webhooks.deliveries add column basis text;

comment on column caudex_webhooks.deliveries.basis is
'Names the rights, fields and conditions that the body was made with. A body of another basis than that of now is made again '
'before it is sent.';
comment on column caudex_webhooks.deliveries.body is
'The body that is sent, byte for byte in each attempt while the webhook may send the same.';
