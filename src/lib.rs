//! A lazy, shared PostgreSQL connection per request for Actix Web.
