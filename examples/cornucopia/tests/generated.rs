//! The code in `examples/books-queries` is what Cornucopia makes of `schema.sql` and `queries`. After a change of these, make it again:
//! `GENERATE=1 cargo test --package example-cornucopia --test generated`.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use actix_pg::testing::Postgres;
use actix_pg::tokio_postgres::{self, NoTls};
use cornucopia::config::Config;
use tokio::runtime::Runtime;

#[test]
fn the_generated_code_is_up_to_date() {
    // The generator blocks its thread, so others have to drive its session.
    let runtime = Runtime::new().expect("a runtime");
    let postgres = Postgres::shared().expect("a server");
    let database = runtime.block_on(postgres.database_with(include_str!("../schema.sql")));
    let database = database.expect("a database");
    let (client, connection) =
        runtime.block_on(tokio_postgres::connect(database.dsn(), NoTls)).expect("a session");
    runtime.spawn(connection);

    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::from_file("cornucopia.toml").expect("a configuration");
    let committed = config.destination.clone();
    if env::var_os("GENERATE").is_none() {
        config.destination = folder.path().join("generated");
    }
    let made = config.destination.clone();
    cornucopia::gen_live(&client, config).unwrap_or_else(|err| panic!("{err:?}"));
    assert_eq!(files(&made), files(&committed), "generate it again, as this file says");
}

/// The files of a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            let name = path.strip_prefix(folder).expect("a file of the folder").display().to_string();
            found.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }
    found
}
