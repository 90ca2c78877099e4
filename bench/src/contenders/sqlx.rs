//! sqlx `PgPool` with its defaults.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{FromRow, Row};

use super::{Outcome, Setup};
use crate::app::{self, SESSIONS, SLOW_USER, USER, User};

pub(super) async fn serve(setup: Setup) -> Outcome {
    let pool = PgPoolOptions::new().max_connections(SESSIONS as u32).connect(&setup.dsn).await?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(pool.clone()))
            .service(user)
            .service(five)
            .service(slow)
            .configure(app::without_database)
    })
    .workers(setup.workers)
    .bind(("127.0.0.1", 0))?;
    app::announce(&server.addrs());
    Ok(server.run().await?)
}

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, pool: web::Data<PgPool>) -> Result<impl Responder> {
    let found: User =
        sqlx::query_as(USER).bind(*id).fetch_one(&**pool).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, pool: web::Data<PgPool>) -> Result<impl Responder> {
    let mut conn = pool.acquire().await.map_err(ErrorInternalServerError)?;
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        let found: User =
            sqlx::query_as(USER).bind(id).fetch_one(&mut *conn).await.map_err(ErrorInternalServerError)?;
        users.push(found);
    }
    Ok(web::Json(users))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, pool: web::Data<PgPool>) -> Result<impl Responder> {
    let found: User =
        sqlx::query_as(SLOW_USER).bind(*id).fetch_one(&**pool).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

impl FromRow<'_, PgRow> for User {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { id: row.try_get(0)?, name: row.try_get(1)? })
    }
}
