drop table caudex_auth.names;
