//! An application may have several databases.

use actix_pg::{Connection, Database};
use actix_web::{App, HttpRequest, web};
use test_support::{TestApp, assert_whole, connect, listen};

const NAME: &str = "SELECT current_database()::text";

struct Second(Database);

/// Case 22: each has its own connection on the request, and both go back.
#[actix_web::test]
async fn both_sessions_of_a_request_go_back() {
    let (first_database, first) = connect(1).await;
    let (second_database, second) = connect(1).await;
    let app: TestApp = {
        let (first, second) = (first.clone(), second.clone());
        listen!(2, move || {
            let handler = async |conn: Connection, req: HttpRequest, other: web::Data<Second>| {
                let other_conn = other.0.connection_for(&req);
                let names: (String, String) = (
                    conn.query_one_scalar(NAME, &[]).await.expect("a name"),
                    other_conn.query_one_scalar(NAME, &[]).await.expect("a name"),
                );
                // The same one when asked for again: the pool has no other.
                let again = other.0.connection_for(&req);
                again.query("SELECT 1", &[]).await.expect("the same session");
                assert_eq!(other.0.status().used, 1);
                format!("{} {}", names.0, names.1)
            };
            let second_data = web::Data::new(Second(second.clone()));
            App::new()
                .app_data(second_data)
                .wrap(first.middleware())
                .wrap(second.middleware())
                .route("/", web::get().to(handler))
        })
    };
    for _ in 0..5 {
        let expected = format!("{} {}", first_database.name(), second_database.name());
        assert_eq!(app.get("/").await.ok(), expected, "the extractor is that of the innermost middleware");
        assert_whole(&first).await;
        assert_whole(&second).await;
    }
    app.stop().await;
}

/// Case 22: one is exhausted, the other serves.
#[actix_web::test]
async fn one_that_is_exhausted_is_no_matter_to_the_other() {
    let (_first_database, first) = connect(1).await;
    let (_second_database, second) = connect(1).await;
    let held = first.connection();
    held.query("SELECT 1", &[]).await.expect("a session");
    second.connection().query("SELECT 1", &[]).await.expect("a session of its own");
    assert_eq!(first.status().used, 1);
}
