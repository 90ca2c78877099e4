//! What is sent in place of a number.

use crate::support::Demo;

#[actix_web::test]
async fn a_value_that_makes_no_sense_is_a_400() {
    let demo = Demo::start();
    for path in [
        "/buttons/load",
        "/buttons/load?clients=",
        "/buttons/load?clients=0",
        "/buttons/load?clients=201",
        "/buttons/load?clients=-1",
        "/buttons/load?clients=99999999999999999999",
        "/buttons/load?clients=many",
        "/buttons/load?clients=1%00",
        "/buttons/load?clients=%ff%fe",
        "/buttons/reports?count=12",
        "/buttons/reports?count=51&release=true",
        "/buttons/reports?count=1&release=maybe",
        "/buttons/transaction?seconds=0",
        "/buttons/transaction?seconds=61",
        "/buttons/transaction?seconds=1e3",
        "/stocktaking?seconds=4000000000",
        "/orders?product='%20OR%201=1",
    ] {
        assert_eq!(post(&demo, path, None).await, 400, "{path}");
    }
    for path in ["/products/1%20OR%201=1", "/products/99999999999999999999"] {
        assert_eq!(
            awc::Client::new().get(format!("{}{path}", demo.url)).send().await.unwrap().status(),
            404,
            "{path}"
        );
    }
    assert_eq!(post(&demo, "/buttons/transaction?seconds=1", None).await, 202);
}

#[actix_web::test]
async fn another_site_cannot_press_a_button() {
    let demo = Demo::start();
    for (origin, status) in
        [("http://evil.example", 403), ("null", 403), ("https://127.0.0.1", 403), (demo.url.as_str(), 202)]
    {
        assert_eq!(post(&demo, "/buttons/transaction?seconds=1", Some(origin)).await, status, "{origin}");
    }
}

async fn post(demo: &Demo, path: &str, origin: Option<&str>) -> u16 {
    let mut request = awc::Client::new().post(format!("{}{path}", demo.url));
    if let Some(origin) = origin {
        request = request.insert_header(("origin", origin));
    }
    request.send().await.expect("a response").status().as_u16()
}
