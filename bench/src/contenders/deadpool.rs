//! deadpool-postgres with its statement cache.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::NoTls;

use super::{Outcome, Setup};
use crate::app::{self, DIRTY_USER, OWN_USER, SESSIONS, SET_TENANT, SLOW_USER, USER, User, VISIT};

pub(super) async fn serve(setup: Setup) -> Outcome {
    let recycling_method = if setup.clean { RecyclingMethod::Clean } else { RecyclingMethod::Fast };
    let config = ManagerConfig { recycling_method };
    let manager = Manager::from_config(setup.dsn.parse()?, NoTls, config);
    let pool = Pool::builder(manager).max_size(SESSIONS).build()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(pool.clone()))
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

#[get("/tenants/{id}")]
async fn tenant(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let client = pool.get().await.map_err(ErrorInternalServerError)?;
    let set = client.prepare_cached(SET_TENANT).await.map_err(ErrorInternalServerError)?;
    client.query_one(&set, &[&app::tenant(*id)]).await.map_err(ErrorInternalServerError)?;
    let statement = client.prepare_cached(OWN_USER).await.map_err(ErrorInternalServerError)?;
    let row = client.query_one(&statement, &[&*id]).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(User::from(row)))
}

#[get("/visits/{id}")]
async fn transaction(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let mut client = pool.get().await.map_err(ErrorInternalServerError)?;
    let tx = client.transaction().await.map_err(ErrorInternalServerError)?;
    let statement = tx.prepare_cached(USER).await.map_err(ErrorInternalServerError)?;
    let row = tx.query_one(&statement, &[&*id]).await.map_err(ErrorInternalServerError)?;
    let visit = tx.prepare_cached(VISIT).await.map_err(ErrorInternalServerError)?;
    tx.execute(&visit, &[&*id]).await.map_err(ErrorInternalServerError)?;
    tx.commit().await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(User::from(row)))
}

#[get("/dirty/{id}")]
async fn dirty(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    Ok(web::Json(one(&pool, DIRTY_USER, *id).await?))
}
