//! SQL that is markup, in the page.

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database};
use actix_web::{App, HttpServer, rt};
use fantoccini::Locator;

use crate::support::{DESKTOP, has_browser, in_browser};

/// A table whose name is markup, so that it is in the summary too.
const TABLE: &str = "\"<img src=x onerror='hit=1'><script>hit=1</script>\"";

#[actix_web::test]
async fn sql_that_is_markup_is_shown_as_text() {
    if !has_browser() {
        return;
    }
    let postgres = Postgres::shared().unwrap();
    let database = postgres.database_with(&format!("CREATE TABLE {TABLE} (id int)")).await.unwrap();
    let config = Config { application_name: Some("<script>hit=1</script>".into()), ..database.config() };
    let db = Database::connect(config).await.unwrap();
    let mounted = db.clone();
    let server = HttpServer::new(move || App::new().service(actix_pg_dashboard::scope(&mounted)));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/dashboard", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);

    let watched = db.clone();
    in_browser(DESKTOP, async move |page| {
        page.open(&url).await;
        page.until("the stream", "return document.querySelector('#connection').className", |it| it == "live")
            .await;
        let conn = watched.connection();
        let tx = conn.transaction().await.unwrap();
        tx.query(&format!("SELECT 'a secret', id AS \"</td><b id=hit>\" FROM {TABLE}"), &[]).await.unwrap();

        let statement = "return document.querySelector('#statements tbody')?.textContent ?? ''";
        page.until("the statement", statement, |text| text.as_str().unwrap().contains("<img src=x")).await;
        let text = page.eval(statement).await;
        assert!(
            text.as_str().unwrap().contains("SELECT ?, id AS \"</td><b id=hit>\" FROM \"<img src=x"),
            "{text}"
        );
        let cell =
            "return document.querySelector('.cell[data-state=idle_in_transaction]')?.textContent ?? ''";
        page.until("the cell", cell, |text| text.as_str().unwrap().contains("<img src=x")).await;
        page.0
            .find(Locator::Css(".cell[data-state=idle_in_transaction]"))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
        page.0.find(Locator::Css("#ask")).await.unwrap().click().await.unwrap();
        let activity = "return document.querySelector('#activity tbody').textContent";
        page.until("the server's view", activity, |text| text.as_str().unwrap().contains("</td><b id=hit>"))
            .await;

        let hit = "return [window.hit ?? null, document.querySelectorAll('img, body script, #hit').length, \
                   document.documentElement.outerHTML.includes('a secret')]";
        assert_eq!(page.eval(hit).await, serde_json::json!([null, 0, false]));
        tx.rollback().await.unwrap();
    })
    .await;
    handle.stop(false).await;
    db.close().await;
}
