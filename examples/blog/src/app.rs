//! What is served.

use actix_pg::health;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use crate::{graphql, input, metrics, rest, tenant};

/// What the server and the tests have in common: `App::new().wrap(db.middleware()).configure(routes)`.
pub fn routes(config: &mut ServiceConfig) {
    config.app_data(input::json()).app_data(input::query()).app_data(web::Data::new(graphql::schema()));
    // Probes and Prometheus are no tenants. In front of clients, a proxy should keep `/metrics` to itself.
    config.route("/live", web::get().to(health::live));
    config.route("/ready", web::get().to(health::ready));
    config.route("/metrics", web::get().to(metrics::render));
    // Everything else is a tenant's, and so is what somebody adds here next year.
    config.service(
        web::scope("")
            .wrap(from_fn(tenant::required))
            .service((rest::list, rest::show, rest::write, rest::comment))
            .service(graphql::answer),
    );
}
