//! Posts and comments: what is stored, what is refused, and how many statements it takes.

use actix_pg::assert_statements;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::support::{app, call, get, post, sandbox};

#[actix_web::test]
async fn a_post_is_written_listed_commented_on_and_shown() {
    let db = sandbox().await;
    let app = app!(db);
    let (status, written) = call(&app, post("ada", "/posts", json!({ "title": "One", "body": "…" }))).await;
    assert_eq!(status, 201);
    let path = format!("/posts/{}", written["id"]);

    let comment = json!({ "author": "grace", "text": "Well." });
    let (status, comment) = call(&app, post("ada", &format!("{path}/comments"), comment)).await;
    assert_eq!((status.as_u16(), &comment["author"]), (201, &json!("grace")));

    let (status, shown) = call(&app, get("ada", &path)).await;
    assert_eq!(status, 200);
    let expected = json!({ "id": written["id"], "title": "One", "body": "…", "comments": [comment] });
    assert_eq!(shown, expected);
    let (_, listed) = call(&app, get("ada", "/posts")).await;
    assert_eq!(listed, json!([{ "id": written["id"], "title": "One", "comments": 1 }]));
}

/// One statement for each post would be fast here and slow in production.
#[actix_web::test]
async fn a_list_is_one_statement_and_a_post_is_two() {
    let db = sandbox().await;
    let app = app!(db);
    let mut last = Value::Null;
    for number in 0..30 {
        let new = json!({ "title": format!("Post {number}"), "body": "…" });
        (_, last) = call(&app, post("ada", "/posts", new)).await;
    }
    let (_, page) = assert_statements!(1, db, call(&app, get("ada", "/posts?limit=20")).await);
    let page = page.as_array().expect("a list");
    assert_eq!((page.len(), &page[0]["id"]), (20, &last["id"]));

    let rest = format!("/posts?before={}", page[19]["id"]);
    let (_, page) = assert_statements!(1, db, call(&app, get("ada", &rest)).await);
    let titles: Vec<&Value> = page.as_array().expect("a list").iter().map(|post| &post["title"]).collect();
    assert_eq!((titles.len(), titles[0], titles[9]), (10, &json!("Post 9"), &json!("Post 0")));

    let path = format!("/posts/{}", last["id"]);
    assert_statements!(2, db, call(&app, get("ada", &path)).await);
}

#[actix_web::test]
async fn a_title_is_taken_once() {
    let db = sandbox().await;
    let app = app!(db);
    let new = json!({ "title": "One", "body": "…" });
    assert_eq!(call(&app, post("ada", "/posts", new.clone())).await.0, 201);
    let (status, refused) = call(&app, post("ada", "/posts", new)).await;
    assert_eq!((status.as_u16(), refused), (409, json!({ "error": "there is a post with that title" })));
}

#[actix_web::test]
async fn what_is_not_there_is_a_404() {
    let db = sandbox().await;
    let app = app!(db);
    assert_eq!(call(&app, get("ada", "/posts/1")).await.0, 404);
    let comment = json!({ "author": "grace", "text": "Well." });
    assert_eq!(call(&app, post("ada", "/posts/1/comments", comment)).await.0, 404);
}

/// Before the database is asked: no statement, and all faults at once.
#[actix_web::test]
async fn what_will_not_do_is_named() {
    let db = sandbox().await;
    let app = app!(db);
    let bad = json!({ "title": " ", "body": "a\0b" });
    let (status, refused) = assert_statements!(0, db, call(&app, post("ada", "/posts", bad)).await);
    assert_eq!(status, 400);
    let title = "must have 1 to 200 characters that are not all blank";
    let fields = json!({ "title": title, "body": "must not contain the character NUL" });
    assert_eq!(refused, json!({ "error": "some fields will not do", "fields": fields }));

    // Characters are counted, not bytes.
    let long = |length| json!({ "title": "ß".repeat(length), "body": "…" });
    assert_eq!(call(&app, post("ada", "/posts", long(201))).await.0, 400);
    assert_eq!(call(&app, post("ada", "/posts", long(200))).await.0, 201);

    for (number, bad) in ["0", "101", "-1", "many"].into_iter().enumerate() {
        let (status, refused) = call(&app, get("ada", &format!("/posts?limit={bad}"))).await;
        assert_eq!(status, 400, "{bad}");
        assert_eq!(refused["fields"]["limit"] == "must be from 1 to 100", number < 3, "{refused}");
    }
}

#[actix_web::test]
async fn a_body_that_cannot_be_read_is_no_failure_of_ours() {
    let db = sandbox().await;
    let app = app!(db);
    let raw = |body: String| {
        TestRequest::post()
            .uri("/posts")
            .insert_header(("x-tenant", "ada"))
            .insert_header(("content-type", "application/json"))
            .set_payload(body)
    };
    let other_tenant = json!({ "title": "One", "body": "…", "tenant": "grace" });
    for (body, expected, part) in [
        ("{".to_owned(), 400, "EOF"),
        (r#"{"title":"One"}"#.to_owned(), 400, "missing field `body`"),
        (other_tenant.to_string(), 400, "unknown field `tenant`"),
        (json!({ "title": "One", "body": "a".repeat(300 * 1024) }).to_string(), 413, "limit"),
    ] {
        let (status, refused) = call(&app, raw(body)).await;
        let error = refused["error"].as_str().expect("an error");
        assert!(status == expected && error.contains(part), "{status}: {error}");
    }
    let (status, _) = call(&app, TestRequest::post().uri("/posts").insert_header(("x-tenant", "ada"))).await;
    assert_eq!(status, 400);
}
