//! The limit of the model: each worker has its share of the sessions on a stack, and nobody else uses them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Deref;

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpServer, Responder, Result, get, rt, web};
use tokio::sync::oneshot;
use tokio_postgres::{Config, Error};

use super::{Outcome, Setup};
use crate::app::{self, SESSIONS};
use crate::session::Session;

pub(super) async fn serve(setup: Setup) -> Outcome {
    let Setup { dsn, workers, .. } = setup;
    let config: Config = dsn.parse()?;
    let server = HttpServer::new(move || {
        let config = config.clone();
        App::new()
            .data_factory(move || Stack::open(config.clone(), SESSIONS / workers))
            .service(user)
            .service(five)
            .service(slow)
            .service(tenant)
            .service(transaction)
            .service(dirty)
            .configure(app::without_database)
    })
    .workers(workers)
    .bind(("127.0.0.1", 0))?;
    app::announce(&server.addrs());
    Ok(server.run().await?)
}

#[get("/users/{id}")]
async fn user(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let session = stack.borrow().await?;
    let found = session.user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/five/{id}")]
async fn five(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let session = stack.borrow().await?;
    let mut users = Vec::with_capacity(5);
    for id in app::five(*id) {
        users.push(session.user(id).await.map_err(ErrorInternalServerError)?);
    }
    Ok(web::Json(users))
}

#[get("/slow/{id}")]
async fn slow(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let session = stack.borrow().await?;
    let found = session.slow_user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/tenants/{id}")]
async fn tenant(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let session = stack.borrow().await?;
    let found = session.own_user(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

#[get("/visits/{id}")]
async fn transaction(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let session = stack.borrow().await?;
    let found = session.visit(*id).await.map_err(ErrorInternalServerError)?;
    Ok(web::Json(found))
}

/// The session is cleaned when the answer is on its way.
#[get("/dirty/{id}")]
async fn dirty(id: web::Path<i64>, stack: web::Data<Stack>) -> Result<impl Responder> {
    let mut borrowed = stack.borrow().await?;
    let found = borrowed.dirty_user(*id).await.map_err(ErrorInternalServerError)?;
    if let Some(session) = borrowed.session.take() {
        let stack = stack.clone();
        rt::spawn(async move {
            session.clean().await.expect("a clean session");
            stack.put(session);
        });
    }
    Ok(web::Json(found))
}

/// The sessions of one worker, and who waits for one.
#[derive(Debug, Default)]
struct Stack {
    idle: RefCell<Vec<Session>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Session>>>,
}

impl Stack {
    async fn open(config: Config, size: usize) -> Result<Self, Error> {
        let stack = Self::default();
        for _ in 0..size {
            let session = Session::open(&config).await?;
            stack.idle.borrow_mut().push(session);
        }
        Ok(stack)
    }

    async fn borrow(&self) -> Result<Borrowed<'_>> {
        let idle = self.idle.borrow_mut().pop();
        let session = match idle {
            Some(session) => session,
            None => {
                let (sender, receiver) = oneshot::channel();
                self.waiting.borrow_mut().push_back(sender);
                receiver.await.map_err(ErrorInternalServerError)?
            }
        };
        Ok(Borrowed { stack: self, session: Some(session) })
    }

    /// First come, first served.
    fn put(&self, mut session: Session) {
        while let Some(waiter) = self.waiting.borrow_mut().pop_front() {
            match waiter.send(session) {
                Ok(()) => return,
                Err(refused) => session = refused,
            }
        }
        self.idle.borrow_mut().push(session);
    }
}

#[derive(Debug)]
struct Borrowed<'a> {
    stack: &'a Stack,
    session: Option<Session>,
}

impl Deref for Borrowed<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("only the drop takes it")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.stack.put(session);
        }
    }
}
