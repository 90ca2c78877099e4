//! The tests of the blog: most of them in a sandbox, which rolls everything back; where sessions matter, on a database of their own;
//! and the program itself, as a process.

mod support;
mod posts;
mod tenants;
mod graphql;
mod the_server;
