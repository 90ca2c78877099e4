//! What it costs to read a hundred rows into structs, counted in instructions: see the README.
//!
//! ```text
//! BENCH_DSN=postgres://… valgrind --tool=callgrind target/release/rows query_as 300
//! ```

use std::env;
use std::error::Error;
use std::hint::black_box;

use actix_pg::tokio_postgres::Row;
use actix_pg::{Config, Database, FromRow};
use sqlx::postgres::{PgPoolOptions, PgRow};

const SQL: &str = "SELECT n::bigint AS id, 'user ' || n AS name,
        CASE WHEN n % 2 = 0 THEN n || '@example.org' END AS email,
        n::int AS age, n % 3 = 0 AS active, n / 7::float8 AS score
    FROM generate_series(1, 100) n";

/// Each row has six columns, of five types.
#[derive(FromRow, sqlx::FromRow)]
struct User {
    id: i64,
    name: String,
    email: Option<String>,
    age: i32,
    active: bool,
    score: f64,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(way), Some(times)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rows <rows|position|name|query_as|sqlx_rows|sqlx_position|sqlx> <queries>".into());
    };
    let (times, dsn): (u32, _) = (times.parse()?, env::var("BENCH_DSN")?);
    if way.starts_with("sqlx") {
        with_sqlx(&dsn, &way, times).await
    } else {
        with_actix_pg(&dsn, &way, times).await
    }
}

async fn with_actix_pg(dsn: &str, way: &str, times: u32) -> Result<(), Box<dyn Error>> {
    let config = Config { pool_min_size: 0, pool_max_size: 1, ..Config::from_dsn(dsn)? };
    let db = Database::connect(config).await?;
    let conn = db.connection();
    for _ in 0..times {
        match way {
            "rows" => assert_eq!(black_box(conn.query(SQL, &[]).await?).len(), 100),
            "position" => checked(conn.query(SQL, &[]).await?.iter().map(by_position).collect()),
            "name" => checked(conn.query(SQL, &[]).await?.iter().map(by_name).collect()),
            "query_as" => checked(conn.query_as::<User>(SQL, &[]).await?),
            _ => return Err(format!("there is no way called {way}").into()),
        }
    }
    drop(conn);
    db.close().await;
    Ok(())
}

fn by_position(row: &Row) -> User {
    User {
        id: row.get(0),
        name: row.get(1),
        email: row.get(2),
        age: row.get(3),
        active: row.get(4),
        score: row.get(5),
    }
}

fn by_name(row: &Row) -> User {
    User {
        id: row.get("id"),
        name: row.get("name"),
        email: row.get("email"),
        age: row.get("age"),
        active: row.get("active"),
        score: row.get("score"),
    }
}

async fn with_sqlx(dsn: &str, way: &str, times: u32) -> Result<(), Box<dyn Error>> {
    let pool = PgPoolOptions::new().max_connections(1).connect(dsn).await?;
    let mut connection = pool.acquire().await?;
    for _ in 0..times {
        match way {
            "sqlx_rows" => {
                let rows = sqlx::query(SQL).fetch_all(&mut *connection).await?;
                assert_eq!(black_box(rows).len(), 100);
            }
            "sqlx_position" => {
                let rows = sqlx::query(SQL).fetch_all(&mut *connection).await?;
                checked(rows.iter().map(sqlx_by_position).collect());
            }
            "sqlx" => checked(sqlx::query_as::<_, User>(SQL).fetch_all(&mut *connection).await?),
            _ => return Err(format!("there is no way called {way}").into()),
        }
    }
    Ok(())
}

fn sqlx_by_position(row: &PgRow) -> User {
    use sqlx::Row as _;

    User {
        id: row.get(0),
        name: row.get(1),
        email: row.get(2),
        age: row.get(3),
        active: row.get(4),
        score: row.get(5),
    }
}

/// Keeps the compiler from leaving out what nobody looks at.
fn checked(users: Vec<User>) {
    assert_eq!(users.len(), 100);
    let last = black_box(&users[99]);
    assert_eq!(
        (last.id, last.name.as_str(), last.email.as_deref()),
        (100, "user 100", Some("100@example.org"))
    );
    assert_eq!((last.age, last.active, last.score), (100, false, 100.0 / 7.0));
}
