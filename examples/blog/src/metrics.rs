//! The metrics of the pool, for Prometheus.

use std::time::Duration;

use actix_pg::DURATION_BUCKETS;
use actix_web::{Responder, rt, web};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the exporter. Call it before the database is connected, or the pool does not find it.
///
/// # Errors
///
/// Fails if another recorder is installed.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("duration".into()), &DURATION_BUCKETS)?
        .install_recorder()?;
    let kept = exporter.clone();
    // Durations are kept one by one until somebody collects them, and it may be that nobody scrapes.
    rt::spawn(async move {
        loop {
            rt::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(exporter)
}

pub(crate) async fn render(exporter: web::Data<PrometheusHandle>) -> impl Responder {
    exporter.render()
}
