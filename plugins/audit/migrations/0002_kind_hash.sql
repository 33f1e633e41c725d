-- The index of kinds has their hash: to compare three texts takes several times as long, and their entries are larger.
drop index caudex_audit.log_kind;
create index log_kind on caudex_audit.log
    (hashtextextended(table_schema || '.' || table_name || '.' || operation, 0), (-id));
