//! Makes and drops databases, one after the other.

mod shared;

use std::collections::{HashMap, VecDeque};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls};

use crate::Error;
use crate::origin::Origin;

/// The first version whose `CREATE DATABASE` has to be told to copy files; those before know no
/// other way.
const FIRST_WITH_STRATEGY: u32 = 15;

const EMPTY: &str = "template1";

/// What processes that have ended left on a given server. A living one is connected under the name
/// its databases begin with.
const ORPHANS: &str = r"
    SELECT datname::text FROM pg_database AS ours
    WHERE datname LIKE 'actix\_pg\_%' AND datdba = current_user::regrole AND NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE application_name LIKE 'actix\_pg\_%'
            AND starts_with(ours.datname, application_name || '_')
    )";

pub(crate) enum Request {
    Create(Source, oneshot::Sender<Result<String, Error>>),
    Drop(String, Option<mpsc::Sender<()>>),
    /// What is asked for, and the query.
    Ask(&'static str, String, mpsc::Sender<Result<String, Error>>),
    Finish(mpsc::Sender<()>),
}

pub(crate) enum Source {
    Nothing,
    /// Texts that are run one after the other.
    Schema(Vec<String>),
    Database(String),
}

/// What that thread knows.
pub(crate) struct Work {
    admin: tokio_postgres::Config,
    connected: Option<Connected>,
    /// What the names of our databases begin with, and the name we are connected under.
    prefix: String,
    made: u64,
    /// The database for each schema.
    templates: HashMap<Vec<String>, String>,
    /// A copy of a template, ready for the next one who asks.
    spares: HashMap<String, String>,
    /// Templates that a spare is to be made of, when nothing else is to be done; none where it
    /// might stay behind.
    wanted: VecDeque<String>,
    /// To be dropped after that.
    unneeded: VecDeque<String>,
    origin: Origin,
    /// Templates are shared with other processes.
    shares: bool,
}

struct Connected {
    client: Client,
    create: &'static str,
}

impl Work {
    pub(crate) fn new(mut admin: tokio_postgres::Config, origin: Origin) -> Self {
        let prefix = format!("actix_pg_{:08x}", RandomState::new().hash_one(std::process::id()) as u32);
        admin.application_name(&prefix);
        Self {
            admin,
            connected: None,
            prefix,
            made: 0,
            templates: HashMap::new(),
            spares: HashMap::new(),
            wanted: VecDeque::new(),
            unneeded: VecDeque::new(),
            origin,
            shares: origin == Origin::Given
                && env::var(shared::TEMPLATES).is_ok_and(|value| value == "shared"),
        }
    }

    pub(crate) async fn serve(&mut self, mut requests: UnboundedReceiver<Request>) {
        loop {
            let idle = self.wanted.is_empty() && self.unneeded.is_empty();
            let request = match idle {
                true => requests.recv().await,
                false => requests.try_recv().ok(),
            };
            match request {
                Some(request) => self.answer(request).await,
                None if idle => return,
                None => self.tidy().await,
            }
        }
    }

    /// One of the things that nobody waits for. What fails here, will be tried again by whoever
    /// needs it.
    async fn tidy(&mut self) {
        if let Some(template) = self.wanted.pop_front() {
            if let Ok(spare) = self.create(&template).await {
                self.spares.insert(template, spare);
            }
        } else if let Some(name) = self.unneeded.pop_front() {
            let _ = self.drop_database(&name).await;
        }
    }

    async fn answer(&mut self, request: Request) {
        match request {
            Request::Create(source, reply) => {
                let created = match source {
                    Source::Nothing => self.fresh(EMPTY).await,
                    Source::Schema(schema) => self.create_with(schema).await,
                    Source::Database(template) => self.create(&template).await,
                };
                // The test was cancelled meanwhile.
                if let Err(Ok(name)) = reply.send(created) {
                    self.unneeded.push_back(name);
                }
            }
            Request::Drop(name, None) => self.unneeded.push_back(name),
            Request::Drop(name, Some(done)) => {
                let _ = self.drop_database(&name).await;
                let _ = done.send(());
            }
            Request::Ask(action, query, reply) => drop(reply.send(self.ask(action, &query).await)),
            Request::Finish(done) => {
                let templates: Vec<String> = self.templates.drain().map(|(_, template)| template).collect();
                for name in templates {
                    let _ = self.drop_database(&name).await;
                }
                let _ = done.send(());
            }
        }
    }

    async fn create_with(&mut self, schema: Vec<String>) -> Result<String, Error> {
        if let Some(template) = self.templates.get(&schema).cloned() {
            return self.fresh(&template).await;
        }
        if self.shares {
            let template = self.shared_template(&schema).await?;
            return self.create(&template).await;
        }
        let template = self.create(EMPTY).await?;
        if let Err(err) = self.prepare(&template, &schema).await {
            let _ = self.drop_database(&template).await;
            return Err(err);
        }
        self.templates.insert(schema, template.clone());
        self.fresh(&template).await
    }

    /// A copy of a template that nobody changes.
    async fn fresh(&mut self, template: &str) -> Result<String, Error> {
        let spare = self.spares.remove(template);
        if self.origin == Origin::Ours && !self.wanted.iter().any(|wanted| wanted == template) {
            self.wanted.push_back(template.to_owned());
        }
        match spare {
            Some(spare) => Ok(spare),
            None => self.create(template).await,
        }
    }

    async fn create(&mut self, template: &str) -> Result<String, Error> {
        self.made += 1;
        let name = format!("{}_{}", self.prefix, self.made);
        self.create_named(&name, template).await?;
        Ok(name)
    }

    async fn create_named(&mut self, name: &str, template: &str) -> Result<(), Error> {
        let options = self.connected().await?.create;
        self.run("create a database", &format!("CREATE DATABASE {name} TEMPLATE {template}{options}")).await
    }

    async fn prepare(&self, template: &str, schema: &[String]) -> Result<(), Error> {
        let mut config = self.admin.clone();
        let (client, connection) = config.dbname(template).connect(NoTls).await.map_err(connect_error)?;
        let driver = tokio::spawn(connection);
        let mut result = Ok(());
        for text in schema {
            result = client.batch_execute(text).await;
            if result.is_err() {
                break;
            }
        }
        drop(client);
        let _ = driver.await;
        result.map_err(|source| Error::Database { action: "run the schema of a test database", source })
    }

    async fn drop_database(&mut self, name: &str) -> Result<(), Error> {
        self.run("drop a database", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
    }

    pub(crate) async fn drop_orphans(&mut self) -> Result<(), Error> {
        let action = "look for databases that were left behind";
        let orphans = self.connected().await?.client.query(ORPHANS, &[]).await;
        let orphans = orphans.map_err(|source| Error::Database { action, source })?;
        // Another process that starts may be faster.
        for orphan in &orphans {
            let _ = self.drop_database(orphan.get(0)).await;
        }
        Ok(())
    }

    /// Asks a process of the server that was forked just now: an older one learns of a change a
    /// little later.
    async fn ask(&self, action: &'static str, query: &str) -> Result<String, Error> {
        let (client, connection) = self.admin.connect(NoTls).await.map_err(connect_error)?;
        tokio::spawn(connection);
        let row = client.query_one(query, &[]).await;
        row.map(|row| row.get(0)).map_err(|source| Error::Database { action, source })
    }

    /// Once more when the connection turns out to have been lost: tests stop and start their
    /// server.
    async fn run(&mut self, action: &'static str, sql: &str) -> Result<(), Error> {
        let client = &self.connected().await?.client;
        let result = client.batch_execute(sql).await;
        if result.is_err() && client.is_closed() {
            let result = self.connected().await?.client.batch_execute(sql).await;
            return result.map_err(|source| Error::Database { action, source });
        }
        result.map_err(|source| Error::Database { action, source })
    }

    async fn connected(&mut self) -> Result<&Connected, Error> {
        if let Some(connected) = self.connected.take_if(|connected| !connected.client.is_closed()) {
            return Ok(self.connected.insert(connected));
        }
        let (client, connection) = self.admin.connect(NoTls).await.map_err(connect_error)?;
        let version =
            connection.parameter("server_version").and_then(major).unwrap_or(FIRST_WITH_STRATEGY - 1);
        tokio::spawn(connection);
        let create = if version < FIRST_WITH_STRATEGY { "" } else { " STRATEGY file_copy" };
        Ok(self.connected.insert(Connected { client, create }))
    }
}

/// `17.2 (Debian …)`, `18beta1`.
fn major(version: &str) -> Option<u32> {
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

fn connect_error(source: tokio_postgres::Error) -> Error {
    Error::Database { action: "connect to the server of the tests", source }
}
