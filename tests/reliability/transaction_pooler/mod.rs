//! Behind a PgBouncer that gives each transaction any of its three server connections.

mod world;
mod tenants;
mod leftovers;
mod once;
mod types;
mod unnamed;
mod changes;
mod reader;
mod refusals;
mod strangers;
