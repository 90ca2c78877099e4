//! deadpool-postgres with its statement cache.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::NoTls;

use super::{Outcome, Setup};
use crate::app::{self, SESSIONS, SLOW_USER, USER, User};

pub(super) async fn serve(setup: Setup) -> Outcome {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(setup.dsn.parse()?, NoTls, config);
    let pool = Pool::builder(manager).max_size(SESSIONS).build()?;
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
    Ok(web::Json(one(&pool, USER, *id).await?))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    Ok(web::Json(one(&pool, SLOW_USER, *id).await?))
}

async fn one(pool: &Pool, sql: &str, id: i64) -> Result<User> {
    let client = pool.get().await.map_err(ErrorInternalServerError)?;
    let statement = client.prepare_cached(sql).await.map_err(ErrorInternalServerError)?;
    let row = client.query_one(&statement, &[&id]).await.map_err(ErrorInternalServerError)?;
    Ok(User::from(row))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let client = pool.get().await.map_err(ErrorInternalServerError)?;
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        let statement = client.prepare_cached(USER).await.map_err(ErrorInternalServerError)?;
        let row = client.query_one(&statement, &[&id]).await.map_err(ErrorInternalServerError)?;
        users.push(User::from(row));
    }
    Ok(web::Json(users))
}
