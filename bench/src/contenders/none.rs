//! The same App without a database: what the middleware is measured against on a route that needs none.

use actix_web::{App, HttpResponse, HttpServer, web};

use super::{Outcome, Setup};
use crate::app;

pub(super) async fn serve(setup: Setup) -> Outcome {
    let server = HttpServer::new(|| {
        // The same routes, because the router tries one after the other.
        ["/users/{id}", "/five/{id}", "/slow/{id}", "/tenants/{id}", "/visits/{id}", "/dirty/{id}"]
            .into_iter()
            .fold(App::new(), |app, path| app.route(path, web::get().to(HttpResponse::NotImplemented)))
            .configure(app::without_database)
    })
    .workers(setup.workers)
    .bind(("127.0.0.1", 0))?;
    app::announce(&server.addrs());
    Ok(server.run().await?)
}
