//! Ready-made handlers for the probes of an orchestrator.
//!
//! ```
//! use actix_pg::{Database, health};
//! use actix_web::{App, web};
//!
//! # fn app(db: Database) {
//! let app = App::new()
//!     .wrap(db.middleware())
//!     .route("/live", web::get().to(health::live))
//!     .route("/ready", web::get().to(health::ready));
//! # }
//! ```

use std::panic::Location;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::database::{Untyped, ask};
use crate::{AcquireError, Database, Error};

/// The longest wait for the database's answer: shorter than the time-out of most probes.
pub const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers 200 while the process serves requests. It does not touch the database: a restart does not help a database that is
/// down.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().body("live")
}

/// Answers 200 if the database answers within [`READY_TIMEOUT`], or if the pool is so busy that the probe gets no session, but others
/// were lent one meanwhile; else 503. Needs the [`Database`] in the app data, where its
/// middleware puts it.
///
/// After [`Database::close`] has been called it answers 503, so that no new requests come while the application stops. It
/// recovers by itself when the database does. A pool that is busy is ready, as long as sessions go from hand to hand: to take a
/// busy application out of the service would only make the others busier.
pub async fn ready(db: web::Data<Database>) -> HttpResponse {
    probe(db.untyped()).await
}

/// The same for a database with a [name](Database::named): `web::get().to(health::ready_of::<Reports>)`.
///
/// A route for each database says which of them is down. One that an application can do without belongs in no probe that
/// takes the application out of the service.
pub async fn ready_of<D: 'static>(db: web::Data<Database<D>>) -> HttpResponse {
    probe(db.untyped()).await
}

async fn probe(db: &Untyped) -> HttpResponse {
    let pool = db.lender().pool();
    let borrows = pool.status().counters.borrows;
    let deadline = Instant::now() + READY_TIMEOUT;
    let is_ready = match timeout_at(deadline, db.lease_for_ping(Location::caller())).await {
        // A session that was lent and does not answer is no sign of life.
        Ok(Ok(lease)) => matches!(timeout_at(deadline, ask(&lease)).await, Ok(Ok(()))),
        Ok(Err(Error::Acquire(
            AcquireError::QueueFull { .. } | AcquireError::Overloaded { .. } | AcquireError::TimedOut { .. },
        )))
        | Err(_) => {
            // A queue that is full or short of patience says that the pool is busy, not that it is stuck.
            sleep_until(deadline).await;
            pool.status().counters.borrows > borrows && !pool.is_closed()
        }
        Ok(Err(_)) => false,
    };
    if is_ready {
        HttpResponse::Ok().body("ready")
    } else {
        HttpResponse::ServiceUnavailable().body("unavailable")
    }
}
