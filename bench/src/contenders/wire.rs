//! The limit of the wire: one session per worker, which all its requests share at the same time.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use tokio_postgres::Config;

use super::{Outcome, Setup};
use crate::app;
use crate::session::Session;

pub(super) async fn serve(setup: Setup) -> Outcome {
    let config: Config = setup.dsn.parse()?;
    let server = HttpServer::new(move || {
        let config = config.clone();
        App::new()
            .data_factory(move || {
                let config = config.clone();
                async move { Session::open(&config).await }
            })
            .service(user)
            .service(five)
            .configure(app::without_database)
    })
    .workers(setup.workers)
    .bind(("127.0.0.1", 0))?;
    app::announce(&server.addrs());
    Ok(server.run().await?)
}

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, session: web::Data<Session>) -> Result<impl Responder> {
    let found = session.user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, session: web::Data<Session>) -> Result<impl Responder> {
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        users.push(session.user(id).await.map_err(ErrorInternalServerError)?);
    }
    Ok(web::Json(users))
}
