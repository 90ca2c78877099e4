//! What happens in the database, live in the browser, as server-sent events: `cargo run --example live`, then
//! `curl -N localhost:8080/events` in one terminal and `curl -d 'hello' localhost:8080/messages` in another. `PORT` is another port.
//!
//! However many browsers listen, in however many workers, the database sees one session for all of them. A browser that cannot keep up
//! is told to load the page anew, and so is everybody when the connection to the database was lost for a moment.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, Event, Events, Result};
use actix_web::http::header::CacheControl;
use actix_web::http::header::CacheDirective::NoStore;
use actix_web::rt::time::timeout;
use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpServer, Responder, get, post, web};
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};

pub(crate) const SCHEMA: &str = "
    CREATE TABLE messages (id bigserial PRIMARY KEY, text text NOT NULL);
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_notify('messages', left(NEW.text, 1000)); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION tell();";

/// How often something is sent to a browser that hears nothing: only so is it noticed that it has gone.
const STILL_HERE: Duration = Duration::from_secs(15);

#[get("/events")]
async fn live(db: web::Data<Database>) -> Result<impl Responder> {
    let events = db.listen(["messages"]).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(CacheControl(vec![NoStore]))
        .streaming(sent(events)))
}

/// The stream ends with `Database::close`.
fn sent(events: Events) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    let hello = stream::once(async { Ok(Bytes::from_static(b": listening\n\n")) });
    hello.chain(stream::unfold(events, async |mut events| {
        let piece = match timeout(STILL_HERE, events.next()).await {
            Ok(None) => return None,
            Ok(Some(Event::Notification(notification))) => message(notification.payload()),
            // Some are lost: the browser has to load what there is.
            Ok(Some(_)) => "event: reload\ndata:\n\n".to_owned(),
            Err(_) => ": still here\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(piece)), events))
    }))
}

/// A field `data` for each line, so that no text can be a field of another name or an event of its own.
fn message(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(|line| format!("data: {line}\n"));
    lines.chain(["\n".to_owned()]).collect()
}

/// Everybody hears it when it is committed.
#[post("/messages")]
async fn say(text: String, conn: Connection) -> Result<impl Responder> {
    conn.execute("INSERT INTO messages (text) VALUES ($1)", &[&text]).await?;
    Ok(HttpResponse::NoContent())
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service((live, say));
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // A throwaway server, gone when this program ends, unless DATABASE_URL names one.
    let (_server, config) = match env::var("DATABASE_URL") {
        Ok(_) => (None, Config::from_env()?),
        Err(_) => {
            let server = Postgres::start()?;
            let config = server.config();
            (Some(server), config)
        }
    };
    let db = Database::connect(config).await?;
    db.batch_execute(SCHEMA).await?;

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let app = db.clone();
    let server = HttpServer::new(move || App::new().wrap(app.middleware()).configure(routes))
        // A stop waits for open streams, and a browser does not hang up.
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    db.close().await;
    Ok(())
}
