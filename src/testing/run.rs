//! Runs a test of `#[actix_pg::test]`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::iter;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use actix_web::rt;
use tokio::sync::OnceCell;

use super::{Postgres, TestDatabase};
use crate::{Config, Database};

/// What the attribute says of a test.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// The texts that make the schema.
    pub migrations: &'static [&'static str],
    pub sandbox: bool,
}

/// What one test is given.
#[derive(Debug)]
pub struct World {
    config: Config,
    /// The test's own, until the test takes it. A sandbox has none.
    own: RefCell<Option<TestDatabase>>,
    sandbox: bool,
    /// To be closed at the end.
    opened: RefCell<Vec<Database>>,
}

/// The type of an argument of a test.
pub trait Argument: Sized {
    /// Takes it.
    fn take(world: &World) -> impl Future<Output = Self>;
}

/// What a test may return.
pub trait Outcome {
    /// Fails the test if this is an error.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<T, E: fmt::Debug> Outcome for Result<T, E> {
    fn check(self) {
        if let Err(err) = self {
            panic!("the test has returned an error: {err:?}");
        }
    }
}

/// Runs a test on a runtime of its own, as `#[actix_web::test]` does, and drops its database.
///
/// # Panics
///
/// If there is no server, the schema fails or the test returns an error, which fails the test: while its database is there, so that
/// `TEST_KEEP_FAILED` keeps it.
pub fn run<R: Outcome>(setup: Setup, test: impl AsyncFnOnce(&World) -> R) {
    rt::System::new().block_on(async {
        let world = World::new(setup).await;
        test(&world).await.check();
        for database in world.opened.take() {
            database.close().await;
        }
    });
}

impl World {
    async fn new(Setup { migrations, sandbox }: Setup) -> Self {
        let (config, own) = match sandbox {
            true => (Config { pool_min_size: 0, pool_max_size: 1, ..shared(migrations).await }, None),
            false => {
                let database = made(migrations).await;
                (database.config(), Some(database))
            }
        };
        Self { config, own: RefCell::new(own), sandbox, opened: RefCell::default() }
    }
}

async fn made(migrations: &[&str]) -> TestDatabase {
    let postgres = Postgres::shared().unwrap_or_else(|err| fail(&err));
    postgres.database_with_migrations(migrations).await.unwrap_or_else(|err| fail(&err))
}

/// Fails the test, with everything that the error says.
fn fail(err: &dyn StdError) -> ! {
    let causes = iter::successors(err.source(), |&cause| cause.source());
    panic!("{err}{}", causes.map(|cause| format!(": {cause}")).collect::<String>())
}

/// The databases that sandboxes share, for each schema one. They go with the server, or when the next tests start on a given one.
type Shared = HashMap<Vec<String>, Arc<OnceCell<TestDatabase>>>;

async fn shared(migrations: &[&str]) -> Config {
    static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);
    let key = migrations.iter().map(|&text| text.to_owned()).collect();
    let database = Arc::clone(SHARED.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
    database.get_or_init(|| made(migrations)).await.config()
}

impl Argument for TestDatabase {
    async fn take(world: &World) -> Self {
        let taken = world.own.take();
        taken.expect(
            "one `TestDatabase`, and none in a sandbox, which shares its database: take a `Database` there",
        )
    }
}

impl Argument for Config {
    async fn take(world: &World) -> Self {
        world.config.clone()
    }
}

impl Argument for Database {
    async fn take(world: &World) -> Self {
        let database = Database::connect(world.config.clone()).await.unwrap_or_else(|err| fail(&err));
        let database = match world.sandbox {
            true => database.sandbox().await.unwrap_or_else(|err| fail(&err)),
            false => database,
        };
        world.opened.borrow_mut().push(database.clone());
        database
    }
}
