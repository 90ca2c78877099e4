//! The promises of the crate, held by real servers and a real database.
//!
//! A file is a behaviour; a test's doc line names the promise (P1 … P26, see ARCHITECTURE.md) or the reference's case that
//! it holds.

mod reference_application;
mod lazy_and_shared;
mod the_end_of_a_request;
mod the_handle_runs_statements;
mod outliving_the_request;
mod release_and_close;
mod owned_sessions;
mod requests_have_a_connection;
mod without_a_connection;
mod concurrent_statements;
mod time_outs;
mod transactions;
mod transactions_of_sql;
mod request_transaction;
mod round_trips;
mod after_a_transaction;
mod batches;
mod outcomes;
mod settings;
mod settings_left;
mod streams;
mod copies;
mod sandbox;
mod statements_of_a_sandbox;
mod test_attribute;
mod waiting_for_a_session;
mod overload;
mod resizing;
mod renewing;
mod the_default_pool;
mod workers_that_misbehave;
mod sessions_follow_their_borrowers;
mod server_outages;
mod silent_servers;
mod several_databases;
mod transactions_on_several_databases;
mod a_log_of_several_databases;
mod several_hosts;
mod passwords;
mod sessions_come_back_clean;
mod statements_are_cached;
mod shared_reads;
mod listen;
mod hooks;
mod watch;
mod health;
mod server_timing;
mod rows_found;
mod rows_as_structs;
mod rows_that_do_not_fit;
mod start_up_and_bad_input;
#[cfg(unix)]
mod libpqs_environment;
mod shutdown;
mod errors_are_opaque;
mod what_is_shown;
mod json_errors_example;
mod examples;
mod migrations_example;
mod live_example;
mod schedules;
mod futures_are_send;
mod faults_upstream;
