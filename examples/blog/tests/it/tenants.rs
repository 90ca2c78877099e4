//! No request reads or writes another tenant's rows.

use actix_pg::tokio_postgres::error::SqlState;
use actix_web::test::TestRequest;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{app, call, database, get, pool, post, sandbox};

#[actix_web::test]
async fn a_request_has_to_say_whose_it_is() {
    let db = sandbox().await;
    let app = app!(db);
    let long = "a".repeat(33);
    for bad in ["", "Ada", "a da", "ada,grace", "a'--", &long] {
        let (status, refused) = call(&app, get(bad, "/posts")).await;
        assert_eq!(status, 401, "{bad}: {refused}");
    }
    let without = TestRequest::get().uri("/posts");
    assert_eq!(call(&app, without).await.0, 401);
    let two = get("ada", "/posts").append_header(("x-tenant", "grace"));
    assert_eq!(call(&app, two).await.0, 401);
    // A route that is not there, too: nothing outside of the scope answers.
    assert_eq!(call(&app, TestRequest::get().uri("/nowhere")).await.0, 401);
}

#[actix_web::test]
async fn what_is_anothers_is_not_there() {
    let db = sandbox().await;
    let app = app!(db);
    let new = json!({ "title": "One", "body": "…" });
    let (_, of_ada) = call(&app, post("ada", "/posts", new.clone())).await;
    let path = format!("/posts/{}", of_ada["id"]);

    assert_eq!(call(&app, get("grace", "/posts")).await.1, json!([]));
    assert_eq!(call(&app, get("grace", &path)).await.0, 404);
    let query = json!({ "query": format!("{{ post(id: {}) {{ title }} posts {{ id }} }}", of_ada["id"]) });
    let (_, answer) = call(&app, post("grace", "/graphql", query)).await;
    assert_eq!(answer["data"], json!({ "post": null, "posts": [] }));
    // The foreign key is checked by the server, which sees all rows. The answer is the same as for a post that nobody has.
    let comment = json!({ "author": "grace", "text": "Well." });
    assert_eq!(call(&app, post("grace", &format!("{path}/comments"), comment)).await.0, 404);
    // The title is free for her.
    assert_eq!(call(&app, post("grace", "/posts", new)).await.0, 201);
    assert_eq!(call(&app, get("ada", "/posts")).await.1.as_array().map(Vec::len), Some(1));
}

/// Eight tenants at the same time, on two sessions: each session serves all of them, and each sees its own.
#[actix_web::test]
async fn sessions_are_shared_and_rows_are_not() {
    let database = database().await;
    let db = pool(&database, 2).await;
    let app = &app!(db);
    let tenants: Vec<String> = (0..8).map(|number| format!("tenant-{number}")).collect();
    join_all(tenants.iter().map(|tenant| async move {
        for number in 0..5 {
            let new = json!({ "title": format!("{number} of {tenant}"), "body": "…" });
            assert_eq!(call(app, post(tenant, "/posts", new)).await.0, 201);
            let (_, listed) = call(app, get(tenant, "/posts")).await;
            let listed = listed.as_array().expect("a list");
            assert_eq!(listed.len(), number + 1, "{tenant}: {listed:?}");
            for post in listed {
                assert!(post["title"].as_str().expect("a title").ends_with(tenant), "{tenant}: {post}");
            }
        }
    }))
    .await;
    assert!(db.status().open <= 2, "{:?}", db.status());
    db.close().await;
}

/// A statement outside of a request, or a route without the middleware, is nobody's.
#[actix_web::test]
async fn without_a_tenant_there_are_no_rows() {
    let database = database().await;
    let db = pool(&database, 1).await;
    let app = app!(db);
    call(&app, post("ada", "/posts", json!({ "title": "One", "body": "…" }))).await;
    // On the session that has just been ada's.
    let rows = db.query_one_scalar::<i64>("SELECT count(*) FROM posts", &[]).await.expect("a count");
    assert_eq!(rows, 0);

    let refused = |err: actix_pg::Error| err.code().cloned();
    let nobodys = db.execute("INSERT INTO posts (title, body) VALUES ('Two', '…')", &[]).await;
    assert_eq!(nobodys.map_err(refused), Err(Some(SqlState::INSUFFICIENT_PRIVILEGE)));
    let conn = db.connection();
    conn.set_config("app.tenant", "ada").expect("a setting");
    // Nobody writes into another blog, or moves a row there.
    for sql in [
        "INSERT INTO posts (tenant, title, body) VALUES ('grace', 'Two', '…')",
        "UPDATE posts SET tenant = 'grace'",
        "ALTER TABLE posts DISABLE ROW LEVEL SECURITY",
    ] {
        let err = conn.execute(sql, &[]).await.map_err(refused);
        assert_eq!(err, Err(Some(SqlState::INSUFFICIENT_PRIVILEGE)), "{sql}");
    }
    drop(conn);
    db.close().await;
}
