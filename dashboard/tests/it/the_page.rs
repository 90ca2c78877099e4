//! The page, its files, and their headers.

use awc::http::Method;

use crate::support::TestApp;

#[actix_web::test]
async fn the_page_is_three_files_that_nobody_keeps_or_frames() {
    let app = TestApp::start(|config| config).await;
    for (path, kind, within) in [
        ("/dashboard/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/dashboard/dashboard.css", "text/css; charset=utf-8", "prefers-color-scheme: dark"),
        ("/dashboard/dashboard.js", "text/javascript; charset=utf-8", "EventSource(\"events\")"),
        ("/deep/inside/", "text/html; charset=utf-8", "<!doctype html>"),
    ] {
        let (status, headers, body) = app.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(within), "{path}");
        for (name, value) in [
            ("content-type", kind),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(headers.get(name).expect(name), value, "{path}");
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn nothing_of_the_page_is_inline_or_from_elsewhere() {
    let (page, script) = (include_str!("../../page/dashboard.html"), include_str!("../../page/dashboard.js"));
    for forbidden in ["style=", "onclick", "https:", "//cdn", "<script>"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https:"] {
        assert!(!script.contains(forbidden), "{forbidden}");
    }
}

#[actix_web::test]
async fn without_a_slash_one_is_sent_to_where_the_files_are() {
    let app = TestApp::start(|config| config).await;
    for (path, location) in [("/dashboard", "./dashboard/"), ("/deep/inside", "./inside/")] {
        let (status, headers, _) = app.get(path).await;
        assert_eq!((status.as_u16(), headers.get("location").unwrap().to_str().unwrap()), (307, location));
    }
    app.stop().await;
}

#[actix_web::test]
async fn it_can_only_be_read() {
    let app = TestApp::start(|config| config).await;
    for path in ["", "/", "/dashboard.css", "/dashboard.js", "/events", "/activity"] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let request = awc::Client::new().request(method.clone(), app.url(&format!("/dashboard{path}")));
            let response = request.send().await.expect("a response");
            assert_eq!(response.status(), 405, "{method} {path}");
        }
    }
    for path in ["/dashboard/../Cargo.toml", "/dashboard/page/dashboard.html", "/dashboard/%2e%2e/x"] {
        assert_eq!(app.get(path).await.0, 404, "{path}");
    }
    app.stop().await;
}
