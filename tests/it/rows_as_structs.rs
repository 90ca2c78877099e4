//! Rows are read into structs and tuples: by name, by position, nested, converted.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_pg::tokio_postgres::types::{FromSql, FromSqlOwned, Type};
use actix_pg::{Error, FromRow, GenericClient, RequestTransaction, Result};
use actix_web::web;
use futures_util::TryStreamExt;
use serde::Deserialize;
use test_support::{TestApp, connect};

#[derive(Debug, PartialEq, FromRow)]
struct User {
    id: i64,
    name: String,
    email: Option<String>,
}

fn user(id: i64, name: &str, email: Option<&str>) -> User {
    User { id, name: name.to_owned(), email: email.map(str::to_owned) }
}

/// The columns may stand in any order, and there may be more of them.
const USERS: &str =
    "SELECT * FROM (VALUES (true, NULL, 'ada', 1::bigint), (false, 'g@example.org', 'grace', 2))
    AS users (admin, email, name, id)";

const ONE_USER: &str = "SELECT 1::bigint AS id, text 'ada' AS name, NULL::text AS email WHERE $1";

/// Each verb, on whatever runs statements.
async fn each_verb(client: &impl GenericClient) -> Result<()> {
    let both = [user(1, "ada", None), user(2, "grace", Some("g@example.org"))];
    assert_eq!(client.query_as::<User>(USERS, &[]).await?, both);
    assert_eq!(client.query_one_as::<User>(ONE_USER, &[&true]).await?, both[0]);
    assert!(matches!(client.query_one_as::<User>(ONE_USER, &[&false]).await, Err(Error::NoRows)));
    assert!(matches!(client.query_one_as::<User>(USERS, &[]).await, Err(Error::TooManyRows)));
    assert_eq!(client.query_opt_as::<User>(ONE_USER, &[&true]).await?.as_ref(), Some(&both[0]));
    assert_eq!(client.query_opt_as::<User>(ONE_USER, &[&false]).await?, None);
    assert!(matches!(client.query_opt_as::<User>(USERS, &[]).await, Err(Error::TooManyRows)));
    let mut stream = client.query_raw_as::<User>(USERS, &[]).await?;
    assert_eq!(stream.try_next().await?.as_ref(), Some(&both[0]));
    assert_eq!(stream.try_collect::<Vec<_>>().await?, both[1..]);
    Ok(())
}

#[actix_web::test]
async fn each_verb_reads_structs_on_whatever_runs_statements() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    each_verb(&conn).await.expect("on a connection");
    let tx = conn.transaction().await.expect("a transaction");
    each_verb(&tx).await.expect("in a transaction");
    let savepoint = tx.transaction().await.expect("a savepoint");
    each_verb(&savepoint).await.expect("in a savepoint");
    drop((savepoint, tx, conn));
    let app = TestApp::start(&db, |config| {
        let handler = async |tx: RequestTransaction| -> Result<String> {
            each_verb(&tx).await?;
            Ok(tx.query_one_as::<User>(ONE_USER, &[&true]).await?.name)
        };
        config.route("/", web::get().to(handler));
    });
    assert_eq!(app.get("/").await.body, "ada");
    app.stop().await;
}

#[derive(Debug, PartialEq, FromRow)]
#[row(rename_all = "camelCase")]
struct Renamed {
    first_name: String,
    #[row(rename = "a \"b\"")]
    odd: i32,
    r#type: i32,
    #[row(default)]
    not_there: i32,
    #[row(default)]
    there: i32,
    #[row(skip)]
    cache: HashMap<String, String>,
}

#[actix_web::test]
async fn a_column_may_have_another_name_or_be_missing() {
    let (_database, db) = connect(1).await;
    let sql = r#"SELECT text 'ada' AS "firstName", 1 AS "a ""b""", 2 AS type, 3 AS there, 4 AS cache"#;
    let read: Renamed = db.connection().query_one_as(sql, &[]).await.expect("a row");
    let cache = HashMap::new();
    assert_eq!(read, Renamed { first_name: "ada".into(), odd: 1, r#type: 2, not_there: 0, there: 3, cache });
}

#[derive(Debug, PartialEq, FromRow)]
struct Post {
    id: i32,
    #[row(prefix = "author_")]
    author: Author,
    #[row(prefix = "editor_")]
    editor: Option<Author>,
    #[row(flatten)]
    times: Times,
}

#[derive(Debug, PartialEq, FromRow)]
struct Author {
    id: i32,
    nick: Option<String>,
    #[row(prefix = "home_")]
    home: Place,
}

#[derive(Debug, PartialEq, FromRow)]
struct Place {
    city: Option<String>,
    #[row(default)]
    floor: i32,
}

#[derive(Debug, PartialEq, FromRow)]
struct Times {
    created: i32,
}

#[actix_web::test]
async fn a_struct_in_a_struct_takes_the_columns_with_its_prefix() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql =
        "SELECT 1 AS id, 7 AS created, 2 AS author_id, 'ada' AS author_nick, 'London' AS author_home_city,
            editors.editor_id, NULL AS editor_nick, NULL AS editor_home_city
        FROM (SELECT 1) AS posts LEFT JOIN (SELECT 3 AS editor_id WHERE $1) AS editors ON true";
    let home = |city: Option<&str>| Place { city: city.map(str::to_owned), floor: 0 };
    let post = |editor| Post {
        id: 1,
        author: Author { id: 2, nick: Some("ada".into()), home: home(Some("London")) },
        editor,
        times: Times { created: 7 },
    };
    let editor = Author { id: 3, nick: None, home: home(None) };
    assert_eq!(conn.query_one_as::<Post>(sql, &[&true]).await.expect("a row"), post(Some(editor)));
    assert_eq!(conn.query_one_as::<Post>(sql, &[&false]).await.expect("a row"), post(None));
    assert_eq!(
        conn.query_one_as::<(Option<i32>,)>("SELECT NULL::int", &[]).await.expect("a row"),
        (None,),
        "the Option of a column is not that of a struct"
    );
}

#[derive(Debug, PartialEq, FromRow)]
struct Comment {
    id: i32,
    #[row(prefix = "reply_")]
    reply: Option<Reply>,
}

#[derive(Debug, PartialEq, FromRow)]
struct Reply {
    id: Option<i32>,
    #[row(prefix = "author_")]
    author: Option<Times>,
    #[row(default)]
    likes: i32,
}

/// What one of them leaves out is not taken from the other.
#[actix_web::test]
async fn an_optional_struct_may_have_another_in_it() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql = "SELECT 1 AS id, $1::int AS reply_id, $2::int AS reply_author_created";
    for (id, created) in [(None, None), (Some(2), None), (None, Some(3)), (Some(2), Some(3))] {
        let author = created.map(|created| Times { created });
        let reply = (id.is_some() || author.is_some()).then_some(Reply { id, author, likes: 0 });
        let read: Comment = conn.query_one_as(sql, &[&id, &created]).await.expect("a row");
        assert_eq!(read, Comment { id: 1, reply });
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Address {
    city: String,
}

#[derive(Debug, PartialEq)]
struct Even(i32);

impl TryFrom<i32> for Even {
    type Error = String;

    fn try_from(number: i32) -> Result<Self, String> {
        if number % 2 == 0 { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

#[derive(Debug, PartialEq, FromRow)]
struct Converted {
    #[row(json)]
    home: Address,
    #[row(json)]
    work: Option<Address>,
    #[row(json, default)]
    tags: Vec<String>,
    #[row(try_from = "i32")]
    even: Even,
    #[row(try_from = "i32")]
    maybe: Option<Even>,
    #[row(try_from = "i32", default, rename = "missing")]
    unsigned: u64,
}

#[actix_web::test]
async fn a_value_may_be_converted_on_its_way() {
    let (_database, db) = connect(1).await;
    let sql = |work: &str, maybe: &str| {
        format!(
            r#"SELECT jsonb '{{"city": "Ulm"}}' AS home, {work} AS work, json '["a"]' AS tags, 2 AS even, {maybe} AS maybe"#
        )
    };
    let conn = db.connection();
    let read: Converted = conn.query_one_as(&sql("NULL::json", "NULL::int"), &[]).await.expect("a row");
    let home = Address { city: "Ulm".into() };
    let tags = vec!["a".to_owned()];
    assert_eq!(read, Converted { home, work: None, tags, even: Even(2), maybe: None, unsigned: 0 });
    let some = sql(r#"json '{"city": "Bonn"}'"#, "4");
    let read: Converted = conn.query_one_as(&some, &[]).await.expect("a row");
    assert_eq!((read.work, read.maybe), (Some(Address { city: "Bonn".into() }), Some(Even(4))));
}

#[derive(Debug, PartialEq, FromRow)]
struct Point(i32, #[row(try_from = "i32")] Even, #[row(skip)] Vec<u8>);

#[derive(Debug, PartialEq, FromRow)]
struct Id(i32);

#[actix_web::test]
async fn tuples_take_the_columns_in_their_order() {
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let pair: (i32, Option<String>) =
        conn.query_one_as("SELECT 1 AS a, NULL::text AS a", &[]).await.expect("a row");
    assert_eq!(pair, (1, None));
    assert_eq!(
        conn.query_one_as::<Point>("SELECT 1, 2", &[]).await.expect("a row"),
        Point(1, Even(2), vec![])
    );
    assert_eq!(conn.query_one_as::<Id>("SELECT 3", &[]).await.expect("a row"), Id(3));
}

/// Its parameters are bound to what their fields ask for.
#[derive(Debug, PartialEq, FromRow)]
struct Versioned<'a, T, U, J, C, const N: usize>
where
    C: TryFrom<i32>,
{
    version: i32,
    value: T,
    #[row(flatten)]
    rest: U,
    #[row(json)]
    json: Option<J>,
    #[row(try_from = "i32")]
    converted: C,
    wide: Wide<N>,
    #[row(skip)]
    note: Option<&'a str>,
}

#[derive(Debug, PartialEq)]
struct Wide<const N: usize>;

impl<'a, const N: usize> FromSql<'a> for Wide<N> {
    fn from_sql(_: &Type, _: &'a [u8]) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[actix_web::test]
async fn a_struct_may_have_parameters() {
    async fn read<T: FromSqlOwned + Debug>(client: &impl GenericClient, sql: &str) -> Result<T> {
        let read: Versioned<'static, T, Times, Address, Even, 2> = client.query_one_as(sql, &[]).await?;
        assert_eq!((read.version, read.rest, read.note), (1, Times { created: 5 }, None));
        Ok(read.value)
    }
    let (_database, db) = connect(1).await;
    let sql =
        "SELECT 1 AS version, text 'x' AS value, 5 AS created, NULL::json AS json, 2 AS converted, 3 AS wide";
    assert_eq!(read::<String>(&db.connection(), sql).await.expect("a row"), "x");
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often it is asked whether it takes a type.
#[derive(Debug)]
struct Curious;

impl<'a> FromSql<'a> for Curious {
    fn from_sql(_: &Type, _: &'a [u8]) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        ASKED.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[derive(Debug, FromRow)]
struct Asks {
    n: Curious,
}

#[actix_web::test]
async fn columns_are_looked_at_once_for_a_result() {
    let (_database, db) = connect(1).await;
    let rows: Vec<Asks> =
        db.connection().query_as("SELECT generate_series(1, 100) AS n", &[]).await.expect("rows");
    assert!(rows.iter().all(|row| matches!(row.n, Curious)));
    assert_eq!((rows.len(), ASKED.load(Ordering::Relaxed)), (100, 1));
}

/// A value of it stays on its thread.
#[derive(Debug, FromRow)]
struct Shared {
    #[row(try_from = "String")]
    name: Rc<str>,
}

/// The future of a verb runs on any thread all the same: the rows are read when nothing is waited for any more.
#[actix_web::test]
async fn a_value_need_not_be_sent_between_threads() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let (_database, db) = connect(1).await;
    let conn = db.connection();
    let sql = "SELECT text 'ada' AS name";
    assert_eq!(&*sent(conn.query_as::<Shared>(sql, &[])).await.expect("rows")[0].name, "ada");
    assert_eq!(&*sent(conn.query_one_as::<Shared>(sql, &[])).await.expect("a row").name, "ada");
    let mut stream = sent(sent(conn.query_raw_as::<Shared>(sql, &[])).await.expect("a stream"));
    assert!(stream.try_next().await.expect("a row").is_some());
}
