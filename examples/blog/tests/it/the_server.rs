//! The program itself: it starts by itself, serves, is looked at, and stops when it is told to.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use awc::Client;
use serde_json::{Value, json};

/// The program, on a port and a PostgreSQL server of its own.
struct Blog {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Blog {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-blog"));
        command.env("PORT", "0").env_remove("DATABASE_URL").env_remove("TEST_DATABASE_URL");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut printed = String::new();
        while output.read_line(&mut printed).expect("text") > 0 {
            if let Some((_, url)) = printed.trim_end().split_once("listening on ") {
                let url = url.to_owned();
                return Self { process, output, url };
            }
        }
        let _ = process.kill();
        panic!("it did not start: {printed} {:?}", process.wait());
    }

    fn terminate(&self) {
        let status = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(status.expect("kill").success());
    }

    /// Waits until it has ended, and returns what it has printed meanwhile.
    fn ended(&mut self) -> String {
        let mut printed = String::new();
        while self.output.read_line(&mut printed).expect("text") > 0 {}
        let status = self.process.wait().expect("an end");
        assert!(status.success(), "{status}: {printed}");
        printed
    }
}

impl Drop for Blog {
    fn drop(&mut self) {
        // In an orderly way, so that its PostgreSQL server is gone too. It may be gone already.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.process.id().to_string()).status();
            let _ = self.process.wait();
        }
    }
}

#[actix_web::test]
async fn it_serves_is_observed_and_stops() {
    let mut blog = Blog::start();
    let client = Client::default();
    let url = |path: &str| format!("{}{path}", blog.url);
    for probe in ["/live", "/ready"] {
        assert_eq!(client.get(url(probe)).send().await.expect("an answer").status(), 200, "{probe}");
    }

    let new = json!({ "title": "One", "body": "…" });
    let request = client.post(url("/posts")).insert_header(("x-tenant", "ada"));
    let mut written = request.send_json(&new).await.expect("an answer");
    assert_eq!(written.status(), 201);
    let written: Value = written.json().await.expect("JSON");
    let path = written["id"].as_i64().map(|id| format!("/posts/{id}")).expect("an id");
    for (tenant, expected) in [("ada", 200), ("grace", 404)] {
        let request = client.get(url(&path)).insert_header(("x-tenant", tenant));
        assert_eq!(request.send().await.expect("an answer").status(), expected, "{tenant}");
    }

    let mut metrics = client.get(url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.body().await.expect("a body");
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("db_client_operation_duration_bucket"), "{metrics}");
    assert!(metrics.contains("INSERT posts"), "{metrics}");

    // An idle client does not hold the stop up: the program closes its connection.
    blog.terminate();
    assert_eq!(blog.ended(), "stopped\n");
}
