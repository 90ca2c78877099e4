//! bb8-postgres with what its documentation does not show: no test on check-out, statements prepared once per session.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, web};
use bb8_postgres::bb8::{self, ManageConnection};
use tokio_postgres::{Config, Error};

use super::{Outcome, Setup};
use crate::app::{self, SESSIONS};
use crate::session::Session;

type Pool = bb8::Pool<Manager>;

pub(super) async fn serve(setup: Setup) -> Outcome {
    let pool = Pool::builder()
        .max_size(SESSIONS as u32)
        .test_on_check_out(false)
        .build(Manager(setup.dsn.parse()?))
        .await?;
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
    let session = pool.get().await.map_err(ErrorInternalServerError)?;
    let found = session.user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let session = pool.get().await.map_err(ErrorInternalServerError)?;
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        users.push(session.user(id).await.map_err(ErrorInternalServerError)?);
    }
    Ok(web::Json(users))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, pool: web::Data<Pool>) -> Result<impl Responder> {
    let session = pool.get().await.map_err(ErrorInternalServerError)?;
    let found = session.slow_user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[derive(Debug)]
struct Manager(Config);

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = Error;

    async fn connect(&self) -> Result<Session, Error> {
        Session::open(&self.0).await
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), Error> {
        session.check().await
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.is_closed()
    }
}
