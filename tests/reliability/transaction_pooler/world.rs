//! A pooler in transaction mode, and a look at what has been left on its server connections.

use actix_pg::testing::TestDatabase;
use actix_pg::{Config, Database, Pooler};
use test_support::{Observer, connected, database, dsn_as};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::bouncer::Bouncer;
use crate::common::STATE;
use actix_pg::tokio_postgres;

/// The server connections of the pooler.
pub const BACKENDS: u32 = 3;

/// The sessions of the pool.
const SESSIONS: u32 = 20;

/// A database, a role without privileges in it, and a pooler whose server connections log in as that role.
pub struct World {
    pub database: TestDatabase,
    pub bouncer: Bouncer,
    pub observer: Observer,
}

impl World {
    /// `None` where there is no pooler to start.
    pub async fn with(schema: &str) -> Option<Self> {
        let database = database().await;
        let observer = Observer::of(&database).await;
        let role = format!("app_{}", database.name());
        // The server's other databases may have the role already; and the pooler itself sets for each client what it keeps track of.
        let state = STATE.replace("CREATE ROLE visitor;", "").replace(
            "source = 'session'",
            "source = 'session' AND name NOT IN ('client_encoding', 'application_name')",
        );
        let schema = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'app'; GRANT CREATE ON SCHEMA public TO {role}; {state} {schema}"
        );
        observer.connection().batch_execute(&schema).await.expect("a schema");
        let bouncer = Bouncer::of_transactions(&dsn_as(&database, &role, "app"), BACKENDS).await?;
        Some(Self { database, bouncer, observer })
    }

    pub fn config(&self) -> Config {
        self.bouncer.config(&self.database, Pooler::Transaction, SESSIONS)
    }

    pub async fn pool(&self) -> Database {
        connected(self.config()).await
    }

    /// A client of the pooler that is not of this crate.
    pub async fn stranger(&self) -> Client {
        let dsn = self.bouncer.dsn(&self.database, "disable");
        let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.expect("a login");
        tokio::spawn(connection);
        client
    }

    /// Runs SQL on every server connection, and returns the first column of the last row of each.
    pub async fn on_each(&self, sql: &str) -> Vec<String> {
        let mut strangers = Vec::new();
        let mut said = Vec::new();
        for _ in 0..BACKENDS {
            let stranger = self.stranger().await;
            // Held open, so that the next one gets another server connection.
            let answers = stranger.simple_query(&format!("BEGIN; {sql}")).await.expect("an answer");
            strangers.push(stranger);
            let row = answers.into_iter().rev().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            });
            said.extend(row);
        }
        for stranger in strangers {
            stranger.batch_execute("COMMIT").await.expect("an end");
        }
        said
    }

    /// What has been left on the server connections. What the pooler has prepared there for its clients is its own.
    pub async fn left(&self) -> Vec<String> {
        let sql = "SELECT state || ' names ' || (SELECT coalesce(string_agg(name, ','), '') FROM pg_prepared_statements \
                   WHERE from_sql OR name NOT LIKE 'PGBOUNCER%') \
                   FROM public.session_state";
        self.on_each(sql).await
    }
}
