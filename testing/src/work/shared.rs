//! Templates that processes share: the schema runs once for all of them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::{EMPTY, Work};
use crate::Error;

/// Has processes that use a given server share their templates, which then stay on it.
pub(crate) const TEMPLATES: &str = "TEST_DATABASE_TEMPLATES";

const ACTION: &str = "make a template that is shared";

impl Work {
    /// The template of a schema, made by the first process that asks.
    ///
    /// A lock on the server lets one process make it. One that was left half-made is no template to
    /// the server, and is made anew.
    pub(super) async fn shared_template(&mut self, texts: &[String]) -> Result<String, Error> {
        let mut hasher = DefaultHasher::new();
        texts.hash(&mut hasher);
        let key = hasher.finish();
        let lock = key.cast_signed();
        self.run(ACTION, &format!("SELECT pg_advisory_lock({lock})")).await?;
        let made = self.make_unless_there(&format!("actixpg_template_{key:016x}"), texts).await;
        let unlocked = self.run(ACTION, &format!("SELECT pg_advisory_unlock({lock})")).await;
        let name = made?;
        unlocked.map(|()| name)
    }

    async fn make_unless_there(&mut self, name: &str, texts: &[String]) -> Result<String, Error> {
        let there = "SELECT FROM pg_database WHERE datname = $1 AND datistemplate";
        let there = self.connected().await?.client.query_opt(there, &[&name]).await;
        if there.map_err(|source| Error::Database { action: ACTION, source })?.is_none() {
            self.drop_database(name).await?;
            self.create_named(name, EMPTY).await?;
            if let Err(err) = self.prepare(name, texts).await {
                let _ = self.drop_database(name).await;
                return Err(err);
            }
            self.run(ACTION, &format!("ALTER DATABASE {name} IS_TEMPLATE true")).await?;
        }
        Ok(name.to_owned())
    }
}
