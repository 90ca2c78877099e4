//! A guide, page by page. Each says what problem it is about, shows the code, and ends with what to watch out for.
//!
//! 1. [`getting_started`]: connect, wrap, the verbs, the first test
//! 2. [`configuration`]: a DSN, the environment, libpq's variables, a password file
//! 3. [`lazy_shared_released`]: when a session is borrowed and when it goes back
//! 4. [`rows`]: structs, tuples, JSON, what happens when they do not fit
//! 5. [`outside_of_requests`]: jobs, repositories, GraphQL
//! 6. [`owned_sessions`]: migrations, and code that wants a `&mut Client`
//! 7. [`listen`]: notifications as a stream, server-sent events
//! 8. [`transactions`]: by hand, with retries, around a whole request
//! 9. [`streaming`]: large results, uploads, downloads, `COPY`
//! 10. [`settings`]: row-level security with a setting per request
//! 11. [`several_databases`]: a type for each, one that is down
//! 12. [`testing`]: a server, databases and a sandbox for an application's tests
//! 13. [`errors`]: what a client sees, what the log has
//! 14. [`time_outs`]: which bound is for what; a time for a call, and for a request
//! 15. [`tuning`]: how many sessions, and which option for which symptom
//! 16. [`capacity`]: `pool_max_size`, processes, a pooler, cores: a simulation
//! 17. [`operating`]: who holds what, and what is slow
//! 18. [`pooler`]: behind PgBouncer
//! 19. [`shared_reads`]: queries without a session of their own
//! 20. [`past_one_machine`]: what to use when; a primary with standbys, many applications
//! 21. [`reader`]: a reader beside the writer: reads on standbys, and how old they may be
//! 22. [`passwords`]: passwords that change while the application runs
//! 23. [`distributed`]: Citus, and servers that only speak PostgreSQL's protocol
//! 24. [`coming_from`]: deadpool-postgres, sqlx, axum-sqlx-tx, GINO
//!
//! Every option is on the page [`options`](crate::options). What a session, a place, a reset and the like are says
//! [the list of words](getting_started#words).

#[doc = include_str!("../docs/guide/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("../docs/guide/configuration.md")]
pub mod configuration {}

#[doc = include_str!("../docs/guide/lazy-shared-released.md")]
pub mod lazy_shared_released {}

#[doc = include_str!("../docs/guide/outside-of-requests.md")]
pub mod outside_of_requests {}

#[doc = include_str!("../docs/guide/rows.md")]
pub mod rows {}

#[doc = include_str!("../docs/guide/owned-sessions.md")]
pub mod owned_sessions {}

#[doc = include_str!("../docs/guide/listen.md")]
pub mod listen {}

#[doc = include_str!("../docs/guide/transactions.md")]
pub mod transactions {}

#[doc = include_str!("../docs/guide/streaming.md")]
pub mod streaming {}

#[doc = include_str!("../docs/guide/settings.md")]
pub mod settings {}

#[doc = include_str!("../docs/guide/several-databases.md")]
pub mod several_databases {}

#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guide/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/guide/time-outs.md")]
pub mod time_outs {}

#[doc = include_str!("../docs/guide/tuning.md")]
pub mod tuning {}

#[doc = include_str!("../docs/guide/capacity.md")]
pub mod capacity {}

#[doc = include_str!("../docs/guide/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/guide/pooler.md")]
pub mod pooler {}

#[doc = include_str!("../docs/guide/shared-reads.md")]
pub mod shared_reads {}

#[doc = include_str!("../docs/guide/past-one-machine.md")]
pub mod past_one_machine {}

#[doc = include_str!("../docs/guide/reader.md")]
pub mod reader {}

#[doc = include_str!("../docs/guide/passwords.md")]
pub mod passwords {}

#[doc = include_str!("../docs/guide/distributed.md")]
pub mod distributed {}

#[doc = include_str!("../docs/guide/coming-from.md")]
pub mod coming_from {}
