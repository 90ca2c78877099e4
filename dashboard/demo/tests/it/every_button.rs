//! Every button, and what the dashboard shows of it.

use std::time::Duration;

use actix_web::rt::time::sleep;
use fantoccini::Locator;
use serde_json::Value;

use crate::support::{DESKTOP, Demo, Page, has_browser, in_browser};

/// How many cells are in each state.
const STATES: &str = "const counts = {}; \
    for (const cell of document.querySelectorAll('#sessions .cell')) \
        counts[cell.dataset.state] = (counts[cell.dataset.state] ?? 0) + 1; \
    return counts";

/// What happened, as kinds and sentences.
const NOTES: &str = "return [...document.querySelectorAll('#notes li')].map((note) => `${note.dataset.kind}: ${[...note.children].slice(1).map((part) => part.textContent).join(' ')}`)";

const STATEMENTS_A_SECOND: &str =
    "return parseFloat(document.querySelector('#card-statements .value').textContent.replace(',', '')) || 0";

const QUEUE: &str = "return document.querySelector('#queue-text').textContent";

#[actix_web::test]
async fn every_button_shows_what_it_says() {
    if !has_browser() {
        return;
    }
    let demo = Demo::start();
    let url = demo.url.clone();
    in_browser(DESKTOP, async move |page| {
        page.open(&url).await;
        let shop = Shop(page);
        shop.dashboard().await;
        shop.page()
            .until("the stream", "return document.querySelector('#connection').className", |it| it == "live")
            .await;
        let states = shop.page().until("the sessions", STATES, |states| states["idle"] == 2).await;
        assert_eq!(states["none"], 6);

        shop.press("load", "20 clients shop for 10 seconds.").await;
        shop.page().until("the load", STATEMENTS_A_SECOND, |rate| rate.as_f64() > Some(50.0)).await;
        let rows =
            "return [...document.querySelectorAll('#statements tbody tr')].map((row) => row.textContent)";
        let has = |rows: &Value, text: &str| {
            rows.as_array().unwrap().iter().any(|row| row.as_str().unwrap().contains(text))
        };
        shop.page()
            .until("a statement", rows, |rows| {
                has(rows, "SELECT name, stock FROM demo_products WHERE id = $1") && has(rows, "23505")
            })
            .await;
        shop.page().until("opened sessions", NOTES, |notes| contains(notes, "opened: ")).await;
        shop.page().until("the end of the load", STATEMENTS_A_SECOND, |rate| rate == 0.0).await;

        shop.press("held", "12 reports of 5 seconds have begun.").await;
        shop.page().until("sessions that are held", STATES, |states| states["held"] == 8).await;
        shop.page().until("the queue", QUEUE, |text| text == "4 requests wait for a session").await;
        let held = "const cell = document.querySelector('.cell[data-state=held]'); return cell.title";
        let title = shop.page().eval(held).await;
        assert!(
            title.as_str().unwrap().contains("SELECT demo_products")
                && title.as_str().unwrap().contains("shop.rs:"),
            "{title}"
        );
        let warned = |notes: &Value| {
            let notes = notes.as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut holds = notes.filter(|note| note.starts_with("long_hold: A session is held"));
            holds.any(|note| note.contains("shop.rs:") && note.contains("/reports/held"))
        };
        shop.page().until("the warning", NOTES, warned).await;
        shop.page().until("the end of the reports", STATES, |states| states["idle"] == 8).await;

        shop.press("released", "12 reports of 5 seconds have begun.").await;
        // Until their first statements have ended, and a sample has been taken since.
        sleep(Duration::from_secs(2)).await;
        for _ in 0..6 {
            sleep(Duration::from_millis(300)).await;
            let states = shop.page().eval(STATES).await;
            assert_eq!(
                (&states["held"], shop.page().eval(QUEUE).await),
                (&Value::Null, "No request waits for a session.".into())
            );
        }

        shop.press("transaction", "A transaction is open for 6 seconds.").await;
        let cell = "return document.querySelector('.cell[data-state=idle_in_transaction]')?.textContent";
        let cell = shop.page().until("the transaction", cell, |cell| cell.is_string()).await;
        assert!(cell.as_str().unwrap().contains("UPDATE demo_products"), "{cell}");

        shop.dashboard().await;
        shop.page().0.find(Locator::Css("#ask")).await.unwrap().click().await.unwrap();
        let activity = "return document.querySelector('#activity').textContent";
        shop.page()
            .until("the server's view", activity, |text| {
                text.as_str().unwrap().contains("idle in transaction")
            })
            .await;

        shop.press("kill", "One server process was ended.").await;
        shop.page()
            .until("the end of a session", NOTES, |notes| contains(notes, "connection_lost: 1 session ended"))
            .await;

        shop.press("load", "20 clients shop for 10 seconds.").await;
        shop.press("restart", "The server was away for 3 seconds and is back.").await;
        shop.page().until("the refusals", NOTES, |notes| contains(notes, "refused at once")).await;
        shop.page().until("the sessions", STATES, |states| states["none"].as_u64() < Some(7)).await;
        shop.page().until("the end of the load", STATEMENTS_A_SECOND, |rate| rate == 0.0).await;
        shop.press("load", "20 clients shop for 10 seconds.").await;
        shop.page()
            .until("the load, as before", STATEMENTS_A_SECOND, |rate| rate.as_f64() > Some(50.0))
            .await;
    })
    .await;
}

fn contains(notes: &Value, text: &str) -> bool {
    notes
        .as_array()
        .is_some_and(|notes| notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains(text))))
}

/// The demo's page, with the dashboard in its frame.
struct Shop(Page);

impl Shop {
    fn page(&self) -> &Page {
        &self.0
    }

    /// Goes into the frame. Scripts look at the dashboard then.
    async fn dashboard(&self) {
        self.0.0.enter_parent_frame().await.unwrap();
        self.0.0.enter_frame(0).await.unwrap();
    }

    /// Presses a button, and waits for what it answers.
    async fn press(&self, id: &str, answer: &str) {
        self.0.0.enter_parent_frame().await.unwrap();
        self.0.0.find(Locator::Id(id)).await.unwrap().click().await.unwrap();
        let output = format!(
            "return document.querySelector('#{id}').closest('article').querySelector('output').textContent"
        );
        self.0.until(answer, &output, |text| text == answer).await;
        self.dashboard().await;
    }
}
