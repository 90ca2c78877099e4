//! `actix-pg`, as its README shows it, and with shared reads.

use actix_pg::{Config, Connection, Database};
use actix_web::{App, HttpServer, Responder, get, web};

use super::{Outcome, Setup};
use crate::app::{self, DIRTY_USER, OWN_USER, SESSIONS, SLOW_USER, USER, User, VISIT};

pub(super) async fn serve(setup: Setup, shared_reads: u32) -> Outcome {
    let db = Database::connect(Config {
        dsn: Some(setup.dsn),
        pool_max_size: SESSIONS as u32,
        shared_reads,
        ..Config::default()
    })
    .await?;
    let server = HttpServer::new(move || {
        App::new()
            .wrap(db.middleware())
            .service(user)
            .service(five)
            .service(slow)
            .service(tenant)
            .service(transaction)
            .service(dirty)
            .configure(app::without_database)
    })
    .workers(setup.workers)
    .bind(("127.0.0.1", 0))?;
    app::announce(&server.addrs());
    Ok(server.run().await?)
}

/// Makes a span of every statement, and metrics. The spans go nowhere: what an exporter does with them is its own.
#[cfg(feature = "observed")]
pub(super) fn observe() -> Outcome {
    tracing::subscriber::set_global_default(tracing_subscriber::registry())?;
    metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    Ok(())
}

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let row = conn.query_one(USER, &[&*id]).await?;
    Ok(web::Json(User::from(row)))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        users.push(User::from(conn.query_one(USER, &[&id]).await?));
    }
    Ok(web::Json(users))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let row = conn.query_one(SLOW_USER, &[&*id]).await?;
    Ok(web::Json(User::from(row)))
}

#[get("/tenants/{id}")]
async fn tenant(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    conn.set_config("app.tenant", &app::tenant(*id))?;
    let row = conn.query_one(OWN_USER, &[&*id]).await?;
    Ok(web::Json(User::from(row)))
}

#[get("/visits/{id}")]
async fn transaction(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let tx = conn.transaction().await?;
    let row = tx.query_one(USER, &[&*id]).await?;
    tx.execute(VISIT, &[&*id]).await?;
    tx.commit().await?;
    Ok(web::Json(User::from(row)))
}

#[get("/dirty/{id}")]
async fn dirty(id: web::Path<i64>, conn: Connection) -> actix_pg::Result<impl Responder> {
    let row = conn.query_one(DIRTY_USER, &[&*id]).await?;
    Ok(web::Json(User::from(row)))
}
