//! The spans of statements, borrows, transactions and repairs, as a subscriber sees them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, Result};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// A span that has ended: its name, that of its parent, and its fields.
#[derive(Debug, Clone, Default)]
struct Span {
    name: String,
    parent: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Span {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Span {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<Span>>>);

impl Ended {
    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ended {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span");
        let parent = span.parent().map(|parent| parent.name().to_owned());
        let mut seen = Span { name: span.name().to_owned(), parent, ..Span::default() };
        attributes.record(&mut seen);
        span.extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("an open span");
        if let Some(seen) = span.extensions_mut().get_mut::<Span>() {
            values.record(seen);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("an open span");
        if let Some(seen) = span.extensions_mut().remove::<Span>() {
            self.0.lock().expect("no panic").push(seen);
        }
    }
}

async fn handler(conn: Connection) -> Result<HttpResponse> {
    let tx = conn.transaction().await?;
    tx.query("SELECT name FROM users WHERE id = $1", &[&1_i64]).await?;
    tx.commit().await?;
    conn.query("SELECT name FROM users WHERE name = 'a secret'", &[]).await?;
    conn.query("SELECT 1 FROM nowhere", &[]).await.expect_err("no such table");
    Ok(HttpResponse::Ok().finish())
}

/// P24: the names and fields are those of OpenTelemetry's conventions, and the spans are children of the request's.
#[actix_web::test]
async fn spans_have_opentelemetrys_names() {
    let ended = Ended::default();
    let subscriber = Registry::default().with(ended.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    let schema = "CREATE TABLE users (id bigint, name text); INSERT INTO users VALUES (1, 'ada')";
    let database = Postgres::shared().expect("a server").database_with(schema).await.expect("a database");
    let config = Config { pool_min_size: 1, pool_max_size: 1, ..database.config() };
    let db = Database::connect(config).await.expect("a connected database");
    assert!(ended.take().iter().any(|span| span.field("otel.name") == Some("connect")));

    let app = App::new().wrap(db.middleware().server_timing(true)).route("/", web::get().to(handler));
    let app = init_service(app).await;
    let request = tracing::info_span!(
        "HTTP request",
        db.statements = tracing::field::Empty,
        db.rows = tracing::field::Empty,
        db.wait_time = tracing::field::Empty,
        db.hold_time = tracing::field::Empty,
    );
    let res = call_service(&app, TestRequest::get().to_request()).instrument(request).await;
    let timing = res.headers().get("server-timing").expect("the header").to_str().expect("text").to_owned();
    assert!(timing.starts_with("db;dur=") && timing.contains(", pool;dur="), "{timing}");
    drop(res);
    db.close().await;

    let spans = ended.take();
    let named =
        |name: &str| spans.iter().filter(|span| span.field("otel.name") == Some(name)).collect::<Vec<_>>();
    let users = named("SELECT users");
    assert_eq!(users.len(), 2, "{spans:#?}");
    for span in &users {
        assert_eq!((span.name.as_str(), span.parent.as_deref()), ("statement", Some("HTTP request")));
        for (field, value) in [
            ("otel.kind", "client"),
            ("db.system.name", "postgresql"),
            ("db.query.summary", "SELECT users"),
            ("db.response.returned_rows", if span.field("db.query.text") == Some(PLAIN) { "0" } else { "1" }),
        ] {
            assert_eq!(span.field(field), Some(value), "{field}");
        }
        assert!(span.field("db.namespace").is_some() && span.field("server.address").is_some());
        assert!(
            !span.fields.contains_key("db.operation.name") && !span.fields.contains_key("db.collection.name")
        );
    }
    let texts: Vec<_> = users.iter().filter_map(|span| span.field("db.query.text")).collect();
    assert_eq!(texts, ["SELECT name FROM users WHERE id = $1", PLAIN]);
    let failed = named("SELECT nowhere");
    assert_eq!(failed[0].field("db.response.status_code"), Some("42P01"));
    assert_eq!(failed[0].field("error.type"), Some("42P01"));
    assert_eq!(failed[0].field("otel.status_code"), Some("ERROR"));
    for other in ["acquire", "transaction"] {
        let spans = named(other);
        assert_eq!((spans.len(), spans[0].parent.as_deref()), (1, Some("HTTP request")), "{other}");
    }
    let request = spans.iter().find(|span| span.name == "HTTP request").expect("the request");
    assert_eq!((request.field("db.statements"), request.field("db.rows")), (Some("3"), Some("1")));
    let held: f64 = request.field("db.hold_time").expect("a sum").parse().expect("seconds");
    assert!(held > 0.0 && request.field("db.wait_time").is_some());
    assert!(!format!("{spans:?}").contains("secret"), "a literal in a span");
}

/// How a text without parameters is shown.
const PLAIN: &str = "SELECT name FROM users WHERE name = ?";
