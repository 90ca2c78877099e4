//! A request may have a transaction on each of several databases.

use actix_pg::{Database, GenericClient, RequestTransaction, Result};
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, Responder, web};
use test_support::{all_returned, connect, listen};

enum Reports {}

/// Each transaction of a request ends in its own middleware: that of the inner one first.
#[actix_web::test]
async fn each_transaction_of_a_request_is_committed_by_itself() {
    let (_shop_database, shop) = connect(1).await;
    let (_reports_database, reports) = connect(1).await;
    let schema = "CREATE TABLE t (id int PRIMARY KEY);
                  CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)";
    shop.batch_execute(schema).await.expect("a schema");
    reports.batch_execute(schema).await.expect("a schema");
    let reports: Database<Reports> = reports.named();
    let app = {
        let (shop, reports) = (shop.clone(), reports.clone());
        listen!(3, move || {
            App::new()
                .wrap(shop.middleware())
                .wrap(reports.middleware())
                .route("/{id}/{what}", web::get().to(transfer))
        })
    };
    let counts = async || -> (i64, i64) {
        all_returned(&shop).await;
        all_returned(&reports.named()).await;
        let sql = "SELECT count(*) FROM t";
        (
            shop.query_one_scalar(sql, &[]).await.expect("a count"),
            reports.query_one_scalar(sql, &[]).await.expect("a count"),
        )
    };
    for (id, (what, status, expected)) in [
        ("ok", 200, (1, 1)),
        ("fails", 409, (1, 1)),
        // The inner one is refused, and then the outer one is rolled back.
        ("shop_refused", 500, (1, 1)),
        // The inner one has been committed when the outer one is refused.
        ("reports_refused", 500, (2, 1)),
        ("shop_alone", 200, (3, 1)),
        ("reports_alone", 200, (3, 2)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(app.get(&format!("/{id}/{what}")).await.status, status, "{what}");
        assert_eq!(counts().await, expected, "{what}");
    }
    app.stop().await;
}

async fn transfer(
    path: web::Path<(i32, String)>,
    shop: RequestTransaction,
    reports: RequestTransaction<Reports>,
) -> Result<impl Responder> {
    let (id, what) = path.into_inner();
    let twice = "INSERT INTO later VALUES (1), (1)"; // refused at the commit
    if what != "reports_alone" {
        insert(&shop, id).await?;
    }
    if what != "shop_alone" {
        insert(&reports, id).await?;
    }
    match what.as_str() {
        "shop_refused" => shop.execute(twice, &[]).await?,
        "reports_refused" => reports.execute(twice, &[]).await?,
        _ => 0,
    };
    Ok(HttpResponse::build(if what == "fails" { StatusCode::CONFLICT } else { StatusCode::OK }))
}

async fn insert(client: &impl GenericClient, id: i32) -> Result<u64> {
    client.execute("INSERT INTO t VALUES ($1)", &[&id]).await
}
