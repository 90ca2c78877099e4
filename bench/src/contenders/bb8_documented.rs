//! bb8-postgres, as its documentation shows it.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use bb8_postgres::PostgresConnectionManager;
use bb8_postgres::bb8;
use tokio_postgres::NoTls;

use super::{Outcome, Setup};
use crate::app::{self, SESSIONS, SLOW_USER, USER, User};

type Pool = bb8::Pool<PostgresConnectionManager<NoTls>>;

pub(super) async fn serve(setup: Setup) -> Outcome {
    let manager = PostgresConnectionManager::new_from_stringlike(setup.dsn, NoTls)?;
    let pool = Pool::builder().max_size(SESSIONS as u32).build(manager).await?;
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
async fn user(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let conn = pool.get().await.map_err(ErrorInternalServerError)?;
    let row = conn.query_one(USER, &[&*id]).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(User::from(row)))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let conn = pool.get().await.map_err(ErrorInternalServerError)?;
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        let row = conn.query_one(USER, &[&id]).await.map_err(ErrorInternalServerError)?;
        users.push(User::from(row));
    }
    Ok(web::Json(users))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let conn = pool.get().await.map_err(ErrorInternalServerError)?;
    let row = conn.query_one(SLOW_USER, &[&*id]).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(User::from(row)))
}
