//! How the page looks, with load: the pictures of the README.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use actix_web::rt::time::sleep;

use crate::support::{DESKTOP, Demo, PHONE, Window, has_browser, in_browser};

#[actix_web::test]
async fn the_page_fits_a_desktop_and_a_phone() {
    if !has_browser() {
        return;
    }
    let demo = Demo::start();
    for (window, name) in [
        (DESKTOP, "dashboard.png"),
        (PHONE, "dashboard-phone.png"),
        (Window { is_dark: true, ..DESKTOP }, "dashboard-dark.png"),
    ] {
        picture(&demo, window, name).await;
    }
}

async fn picture(demo: &Demo, window: Window, name: &'static str) {
    let url = demo.url.clone();
    in_browser(window, async move |page| {
        page.open(&format!("{url}/dashboard/")).await;
        press(&url, "load?clients=12").await;
        sleep(Duration::from_secs(5)).await;
        press(&url, "kill").await;
        press(&url, "load?clients=12").await;
        sleep(Duration::from_secs(5)).await;
        press(&url, "transaction?seconds=5").await;
        press(&url, "reports?count=2&release=false").await;
        let states =
            "return new Set([...document.querySelectorAll('.cell')].map((cell) => cell.dataset.state)).size";
        page.until("sessions in three states", states, |states| states.as_u64() >= Some(3)).await;
        let warning = "return document.querySelector('#notes [data-kind=long_hold]') !== null";
        page.until("a warning", warning, |there| there == true).await;
        let fits = "return document.documentElement.scrollWidth <= window.innerWidth && window.innerWidth";
        assert_eq!(page.eval(fits).await, window.width, "{window:?}");
        let page_colour = page.eval("return getComputedStyle(document.body).backgroundColor").await;
        let expected = if window.is_dark { "rgb(14, 19, 26)" } else { "rgb(245, 246, 248)" };
        assert_eq!(page_colour, expected);
        let picture = page.0.screenshot().await.unwrap();
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), &picture).unwrap();
        if env::var_os("WRITE_SCREENSHOTS").is_some() && !window.is_dark {
            let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
            fs::write(Path::new(docs).join(name), &picture).unwrap();
        }
    })
    .await;
}

/// Presses a button, again while it says that what it does is going on already.
async fn press(url: &str, button: &str) {
    for _ in 0..150 {
        let response = awc::Client::new().post(format!("{url}/buttons/{button}")).send().await;
        match response.expect("a response").status().as_u16() {
            409 => sleep(Duration::from_millis(100)).await,
            status => return assert_eq!(status, 202, "{button}"),
        }
    }
    panic!("{button} goes on and on");
}
