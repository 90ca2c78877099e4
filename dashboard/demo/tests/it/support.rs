//! The demo as a process, and a browser that looks at it.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::panic::resume_unwind;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use actix_web::rt;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The application, on a port and a server of its own.
pub(crate) struct Demo {
    process: Child,
    pub(crate) url: String,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actix-pg-demo"));
        let (process, url) = first_line(
            command.env("PORT", "0").env_remove("DATABASE_URL").env_remove("TEST_DATABASE_URL"),
            |line| Some(line.strip_prefix("listening on ")?.to_owned()),
        );
        Self { process, url }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // In an orderly way, so that its PostgreSQL server is gone too.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// The size and the colours of a browser's window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_phone: bool,
    pub(crate) is_dark: bool,
}

pub(crate) const DESKTOP: Window = Window { width: 1280, height: 800, is_phone: false, is_dark: false };
pub(crate) const PHONE: Window = Window { width: 390, height: 844, is_phone: true, is_dark: false };

/// Runs a test in a browser, and leaves no process behind, whatever comes of it.
pub(crate) async fn in_browser<F: Future<Output = ()> + 'static>(
    window: Window,
    test: impl FnOnce(Page) -> F + 'static,
) {
    let mut command = Command::new("chromedriver");
    let (mut driver, port) = first_line(command.arg("--port=0"), |line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities(window).as_object().expect("an object").clone())
        .connect(&format!("http://127.0.0.1:{port}"))
        .await;
    let outcome = match client {
        Ok(client) => {
            let outcome = rt::spawn(test(Page(client.clone()))).await;
            let _ = client.close().await;
            outcome.map_err(|err| err.into_panic())
        }
        Err(err) => Err(Box::new(format!("no browser: {err}")) as _),
    };
    let _ = driver.kill();
    let _ = driver.wait();
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

fn capabilities(window: Window) -> Value {
    let metrics = json!({
        "width": window.width, "height": window.height, "pixelRatio": 1.0,
        "mobile": window.is_phone, "touch": window.is_phone,
    });
    let scheme = if window.is_dark { 0 } else { 1 };
    let arguments = [
        "--headless=new".to_owned(),
        "--hide-scrollbars".to_owned(),
        "--disable-gpu".to_owned(),
        // As root, and in a container, there is no sandbox; and little shared memory.
        "--no-sandbox".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        format!("--blink-settings=preferredColorScheme={scheme}"),
    ];
    json!({ "goog:chromeOptions": { "args": arguments, "mobileEmulation": { "deviceMetrics": metrics } } })
}

/// A page in the browser.
#[derive(Clone)]
pub(crate) struct Page(pub(crate) Client);

impl Page {
    pub(crate) async fn open(&self, url: &str) {
        self.0.goto(url).await.expect("a page");
    }

    /// What a script returns.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        self.0.execute(script, Vec::new()).await.unwrap_or_else(|err| panic!("{err}: {script}"))
    }

    /// Waits until a script returns what is expected, and returns that.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        what: &'a str,
        script: &'a str,
        expected: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let start = Instant::now();
            loop {
                let value = self.eval(script).await;
                if expected(&value) {
                    return value;
                }
                assert!(start.elapsed() < PATIENCE, "{caller}: {what} does not show: {value}");
                rt::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts a process and waits for the line that says it is ready. What it prints later is read and thrown away.
fn first_line<T>(command: &mut Command, wanted: impl Fn(&str) -> Option<T>) -> (Child, T) {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let Some(found) = lines.find_map(|line| wanted(&line)) else {
        let _ = process.kill();
        panic!("{command:?} did not start: {:?}", process.wait());
    };
    thread::spawn(move || lines.for_each(drop));
    (process, found)
}

/// Whether there is a browser to test in. In CI there has to be one.
pub(crate) fn has_browser() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join("chromedriver").is_file());
    assert!(
        found || env::var("CI").as_deref() != Ok("true"),
        "no chromedriver: install Chromium and its driver"
    );
    if !found {
        // Not `eprintln!`, which is not shown for a test that passes.
        let text = "SKIPPED: no chromedriver. Install Chromium and its driver, or run `cargo xtask test`.";
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    found
}
