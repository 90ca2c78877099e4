//! What a test asks its sandbox.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Database;

impl<D> Database<D> {
    /// Runs in a sandbox what was registered to run after the commits of its transactions, in their order, and says how many
    /// callbacks there were. Feature `testing`.
    ///
    /// Nothing is committed in a sandbox. So what was registered with
    /// [`after_commit`](crate::Transaction::after_commit) is kept there until this is called, or the sandbox ends. What the
    /// callbacks register themselves is run too. On a database that is no sandbox this does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let sandbox = db.sandbox().await?;
    /// let tx = sandbox.transaction().await?;
    /// tx.after_commit(|| async { println!("hello, ada") })?;
    /// tx.commit().await?;
    /// assert_eq!(sandbox.run_after_commit().await, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_after_commit(&self) -> usize {
        self.untyped.lender().run_kept().await
    }

    /// Lists the statements that have run in a sandbox, in the order in which they were begun, with their failures. Feature `testing`.
    ///
    /// A `batch` is one, and so is an `execute_many`. Not listed is what goes through a [`ClientGuard`](crate::ClientGuard), and what
    /// this crate sends itself: BEGIN and COMMIT, the settings of a request, resets. On a database that is no sandbox the list is empty.
    /// [`assert_statements!`](crate::assert_statements) counts them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::{Database, testing::Postgres};
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Postgres::shared()?.database().await?;
    /// # let db = Database::connect(database.config()).await?;
    /// let sandbox = db.sandbox().await?;
    /// sandbox.query("SELECT $1::int", &[&1]).await?;
    /// assert_eq!(sandbox.statements(), ["SELECT $1::int"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn statements(&self) -> Vec<String> {
        self.untyped.lender().statements()
    }
}

/// Asserts how many statements ran in a [sandbox](crate::Database::sandbox) while an expression was evaluated, and returns its value.
/// Feature `testing`.
///
/// A page that runs one statement for each of its rows is fast in a test and slow in production. This finds it:
///
/// ```
/// # use actix_pg::{Connection, Database, Result, assert_statements, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// # let database = Postgres::shared()?.database_with("CREATE TABLE users (id int, name text)").await?;
/// # let db = Database::connect(database.config()).await?;
/// async fn names(conn: &Connection, ids: &[i32]) -> Result<Vec<String>> {
///     conn.query_scalar("SELECT name FROM users WHERE id = ANY($1)", &[&ids]).await
/// }
///
/// let sandbox = db.sandbox().await?;
/// let names = assert_statements!(1, sandbox, names(&sandbox.connection(), &[1, 2, 3]).await?);
/// assert!(names.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// If it was another number. The message lists the statements, and how often each ran. Statements of others who use the sandbox
/// meanwhile count too.
#[macro_export]
macro_rules! assert_statements {
    ($count:expr, $sandbox:expr, $running:expr $(,)?) => {{
        let sandbox = &$sandbox;
        let before = sandbox.statements().len();
        let output = $running;
        sandbox.__assert_statements(before, $count);
        output
    }};
}

#[doc(hidden)]
impl<D> Database<D> {
    /// What `assert_statements!` asserts. It is no part of the API.
    #[track_caller]
    pub fn __assert_statements(&self, before: usize, expected: usize) {
        let ran = self.statements().split_off(before);
        if ran.len() != expected {
            panic!("{}", unexpected(&ran, expected));
        }
    }
}

fn unexpected(ran: &[String], expected: usize) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for sql in ran {
        *counts.entry(sql).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let mut text = format!("expected {expected} statements, but {} ran:", ran.len());
    for (sql, times) in counts {
        let _ = write!(text, "\n{times:>6} x {sql}");
    }
    text
}
