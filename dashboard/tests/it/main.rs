//! What is served, over HTTP, from a real server and a real PostgreSQL.

mod support;
mod the_page;
mod events;
mod viewers;
mod many_statements;
mod activity;
