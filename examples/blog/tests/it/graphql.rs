//! GraphQL: one connection for all resolvers, no N + 1, and nothing of the database in an error.

use actix_pg::assert_statements;
use serde_json::json;

use crate::support::{app, call, database, get, pool, post, sandbox};

#[actix_web::test]
async fn the_comments_of_all_posts_are_one_statement() {
    let db = sandbox().await;
    let app = app!(db);
    for number in 0..10 {
        let new = json!({ "title": format!("Post {number}"), "body": "…" });
        let (_, written) = call(&app, post("ada", "/posts", new)).await;
        let comment = json!({ "author": "grace", "text": format!("To {number}") });
        call(&app, post("ada", &format!("/posts/{}/comments", written["id"]), comment)).await;
    }
    let query = json!({ "query": "{ posts(first: 10) { title comments { text } } }" });
    let (_, answer) = assert_statements!(2, db, call(&app, post("ada", "/graphql", query)).await);
    let posts = answer["data"]["posts"].as_array().expect("posts");
    assert_eq!(posts.len(), 10);
    for post in posts {
        let number = post["title"].as_str().and_then(|title| title.strip_prefix("Post ")).expect("a title");
        assert_eq!(post["comments"], json!([{ "text": format!("To {number}") }]));
    }
}

/// With a pool of one session, two connections in a request would wait for each other.
#[actix_web::test]
async fn two_resolvers_share_one_session() {
    let database = database().await;
    let db = pool(&database, 1).await;
    let app = app!(db);
    call(&app, post("ada", "/posts", json!({ "title": "One", "body": "…" }))).await;
    let borrows = db.status().counters.borrows;
    let query =
        json!({ "query": "{ posts { title } comments { text } post(id: 1) { title comments { text } } }" });
    let (status, answer) = call(&app, post("ada", "/graphql", query)).await;
    assert_eq!(status, 200);
    assert_eq!(answer["data"]["post"]["title"], "One", "{answer}");
    assert_eq!(db.status().counters.borrows, borrows + 1);
    db.close().await;
}

#[actix_web::test]
async fn a_query_that_asks_for_too_much_costs_no_statement() {
    let db = sandbox().await;
    let app = app!(db);
    let wide = (0..201).map(|number| format!("c{number}: comments {{ id }} ")).collect::<String>();
    for (query, part) in [
        (format!("{{ {wide} }}"), "complex"),
        ("{ posts(first: 1000) { id } }".to_owned(), "less than or equal to 100"),
        ("{ posts { nonsense } }".to_owned(), "nonsense"),
        ("{".to_owned(), "expected"),
    ] {
        let query = json!({ "query": query });
        let (_, answer) = assert_statements!(0, db, call(&app, post("ada", "/graphql", query)).await);
        let error = answer["errors"][0]["message"].as_str().expect("an error");
        assert!(error.contains(part), "{error}");
    }
}

/// The log has the cause.
#[actix_web::test]
async fn a_failure_shows_nothing_of_the_database() {
    let database = database().await;
    let db = pool(&database, 1).await;
    let app = app!(db);
    db.close().await;
    let query = json!({ "query": "{ posts { comments { text } } comments { text } }" });
    let (_, answer) = call(&app, post("ada", "/graphql", query)).await;
    for error in answer["errors"].as_array().expect("errors") {
        assert_eq!(error["message"], "try again in a moment");
    }
    let (status, refused) = call(&app, get("ada", "/posts")).await;
    assert_eq!((status.as_u16(), refused), (503, json!({ "error": "try again in a moment" })));
}
