//! A small shop with buttons, beside the dashboard of its pool: `cargo xtask demo`.

mod shop;
mod buttons;
mod load;
mod server;

use std::env;
use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use actix_pg::{Config, Database};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpServer, web};

use crate::load::Load;
use crate::server::Server;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (server, config) = Server::start()?;
    let server = web::Data::new(server);
    // Few sessions, so that one sees what they do.
    let config = Config {
        pool_min_size: 2,
        pool_max_size: 8,
        acquire_timeout: Duration::from_secs(10),
        slow_statement: Some(Duration::from_secs(1)),
        slow_acquire: Some(Duration::from_secs(1)),
        long_hold: Some(Duration::from_secs(2)),
        ..config
    };
    let db = Database::connect(config).await?;
    shop::create_tables(&db).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    let load = web::Data::new(Load::on(address));
    let app = db.clone();
    let http = HttpServer::new(move || {
        let dashboard = actix_pg_dashboard::scope(&app);
        App::new()
            .app_data(server.clone())
            .app_data(load.clone())
            .app_data(web::Data::new(app.clone()))
            .service(dashboard.wrap(from_fn(in_our_frame)))
            .configure(buttons::routes)
            .service(web::scope("").wrap(app.middleware()).configure(shop::routes))
    });
    let http = http.workers(2).shutdown_timeout(5).listen(listener)?;
    println!("listening on http://{address}");
    http.run().await?;
    db.close().await;
    Ok(())
}

/// The dashboard forbids every page to show it in a frame. Ours does, beside the buttons.
async fn in_our_frame(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut res = next.call(req).await?;
    if let Some(policy) = res.headers().get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok()) {
        let policy = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'");
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            res.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
    }
    Ok(res)
}
