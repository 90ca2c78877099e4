//! A primary with standbys: they follow, one can be promoted, and nothing stays behind.
#![cfg(unix)]

mod client;

use std::time::{Duration, Instant};

use actix_pg_testing::{Cluster, Postgres};
use client::{connect, value};
use tokio_postgres::Client;

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn a_standby_follows_and_takes_over() -> TestResult {
    let start = Instant::now();
    let cluster = Cluster::builder().standbys(2).synchronous(2).start()?;
    println!("started in {:?}", start.elapsed());
    let database = cluster.primary().database_with("CREATE TABLE runs AS SELECT 1 AS id").await?;
    let mine = |postgres: &Postgres| database.dsn().replace(&port(cluster.primary()), &port(postgres));
    cluster.caught_up(0)?;
    cluster.caught_up(1)?;
    for index in 0..cluster.standbys() {
        let standby = connect(&mine(cluster.standby(index))).await?;
        assert_eq!(value(&standby, "SELECT count(*)::text FROM runs").await?, "1");
        let refused = standby.execute("DELETE FROM runs", &[]).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("25006"));
    }

    let primary = connect(database.dsn()).await?;
    primary.execute("INSERT INTO runs VALUES (2)", &[]).await?;
    cluster.primary().crash()?;
    cluster.promote(0)?;
    cluster.promote(0)?;
    let dsn = format!("{}?target_session_attrs=read-write", cluster.dsn_of(&database));
    let promoted = connect(&dsn).await?;
    assert_eq!(value(&promoted, "SELECT inet_server_port()::text").await?, port(cluster.standby(0)));
    assert_eq!(value(&promoted, "SELECT count(*)::text FROM runs").await?, "2", "it was synchronous");

    // The other one follows the promoted.
    promoted.batch_execute("INSERT INTO runs VALUES (3)").await?;
    let other = connect(&mine(cluster.standby(1))).await?;
    soon(&other, "SELECT count(*)::text FROM runs", "3").await
}

#[tokio::test]
async fn a_standby_that_was_away_finds_what_it_has_missed() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.standby(0).stop()?;
    let primary = connect(cluster.primary().dsn()).await?;
    for _ in 0..3 {
        primary.batch_execute("CREATE TABLE runs (); DROP TABLE runs").await?;
        primary.batch_execute("SELECT pg_switch_wal()").await?;
        primary.batch_execute("CHECKPOINT").await?;
    }
    cluster.standby(0).start_again()?;
    cluster.caught_up(0)?;
    Ok(())
}

#[tokio::test]
async fn the_primary_follows_after_a_switchover() -> TestResult {
    let cluster = Cluster::start()?;
    cluster.switch_over(0)?;
    let old = connect(cluster.primary().dsn()).await?;
    let new = connect(cluster.standby(0).dsn()).await?;
    assert_eq!(value(&old, "SELECT pg_is_in_recovery()::text").await?, "true");
    new.batch_execute("CREATE TABLE runs ()").await?;
    soon(&old, "SELECT (to_regclass('runs') IS NOT NULL)::text", "true").await?;
    let folders = [cluster.primary().data_dir()?, cluster.standby(0).data_dir()?];
    drop(cluster);
    assert!(folders.iter().all(|folder| !folder.exists()));
    Ok(())
}

#[tokio::test]
async fn what_a_standby_applies_can_be_delayed() -> TestResult {
    let cluster = Cluster::builder().apply_delay(Duration::from_secs(1)).start()?;
    let primary = connect(cluster.primary().dsn()).await?;
    let standby = connect(cluster.standby(0).dsn()).await?;
    let start = Instant::now();
    primary.batch_execute("CREATE TABLE runs ()").await?;
    soon(&standby, "SELECT (to_regclass('runs') IS NOT NULL)::text", "true").await?;
    assert!(start.elapsed() >= Duration::from_secs(1));
    Ok(())
}

fn port(postgres: &Postgres) -> String {
    postgres.port().to_string()
}

async fn soon(client: &Client, query: &str, expected: &str) -> TestResult {
    let start = Instant::now();
    while value(client, query).await? != expected {
        assert!(start.elapsed() < Duration::from_secs(20), "{query} never says {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
