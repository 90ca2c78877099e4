//! Two PostgreSQL servers under Patroni, with etcd behind it and HAProxy in front.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_support::{connected, database};
use tokio::task::spawn_blocking;

use crate::programs::{Program, find, free_port};

/// Two servers of which Patroni makes one the primary, and the other its synchronous standby. All of it ends with the value.
pub struct Patroni {
    _proxy: Program,
    nodes: [Node; 2],
    /// In the order in which they end.
    programs: Vec<Program>,
    proxy_port: u16,
    _folder: TempDir,
}

struct Node {
    name: &'static str,
    rest: u16,
    postgres: u16,
}

impl Patroni {
    /// `None` where one of the programs is missing.
    pub async fn start() -> Option<Self> {
        let [patroni, etcd, haproxy] = ["patroni", "etcd", "haproxy"].map(find);
        let (patroni, etcd, haproxy) = (patroni?, etcd?, haproxy?);
        let (patroni, etcd, haproxy) =
            (patroni.display().to_string(), etcd.display().to_string(), haproxy.display().to_string());
        let bin = bin_dir().await;
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let (store, peers) = (free_port(), free_port());
        let (url, peer_url) = (format!("http://127.0.0.1:{store}"), format!("http://127.0.0.1:{peers}"));
        let store_command = [
            &etcd,
            "--data-dir",
            "etcd",
            "--unsafe-no-fsync",
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--listen-peer-urls",
            &peer_url,
        ];
        let mut programs = vec![Program::start("etcd", at, &store_command, store).await];
        let nodes = ["one", "two"].map(|name| Node { name, rest: free_port(), postgres: free_port() });
        for node in &nodes {
            let file = format!("{}.yml", node.name);
            fs::write(at.join(&file), configuration(node, store, at, &bin)).expect("a file");
            programs.insert(0, Program::start(node.name, at, &[&patroni, &file], node.rest).await);
            // The first becomes the primary, the second copies it.
            node.becomes(if node.name == "one" { "/primary" } else { "/sync" }, &programs).await;
        }
        let proxy_port = free_port();
        fs::write(at.join("haproxy.cfg"), in_front(&nodes, proxy_port)).expect("a file");
        let proxy = Program::start("haproxy", at, &[&haproxy, "-db", "-f", "haproxy.cfg"], proxy_port).await;
        Some(Self { _proxy: proxy, nodes, programs, proxy_port, _folder: folder })
    }

    /// The DSN of both servers.
    pub fn dsn(&self) -> String {
        let [one, two] = &self.nodes;
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", one.postgres, two.postgres)
    }

    /// The DSN of whichever is the primary, by way of HAProxy.
    pub fn proxy_dsn(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.proxy_port)
    }

    /// Makes the other server the primary, and returns when Patroni says that it is.
    pub async fn switch_over(&self) {
        let [one, two] = &self.nodes;
        let (leader, candidate) = if one.is("/primary").await { (one, two) } else { (two, one) };
        let wish = format!(r#"{{"leader": "{}", "candidate": "{}"}}"#, leader.name, candidate.name);
        let (status, answer) = leader.ask("POST", "/switchover", wish).await.expect("an answer of Patroni");
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until there is a standby to switch over to.
    pub async fn is_whole(&self) {
        let [one, two] = &self.nodes;
        let standby = if one.is("/primary").await { two } else { one };
        standby.becomes("/sync", &self.programs).await;
    }
}

impl Node {
    async fn is(&self, path: &'static str) -> bool {
        self.ask("GET", path, String::new()).await.is_some_and(|(status, _)| status == 200)
    }

    async fn becomes(&self, path: &'static str, programs: &[Program]) {
        let since = Instant::now();
        while !self.is(path).await {
            if since.elapsed() > Duration::from_secs(60) {
                let logs: Vec<String> = programs.iter().map(Program::last_lines).collect();
                panic!("{} is not {path}:\n{}", self.name, logs.join("\n\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks Patroni on this server.
    async fn ask(&self, method: &'static str, path: &'static str, body: String) -> Option<(u16, String)> {
        let port = self.rest;
        let ask = move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
            let length = body.len();
            let head = format!(
                "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            let status = answer.split(' ').nth(1)?.parse().ok()?;
            Some((status, answer))
        };
        spawn_blocking(ask).await.expect("no panic")
    }
}

fn configuration(node: &Node, store: u16, folder: &Path, bin: &str) -> String {
    let Node { name, rest, postgres } = node;
    let folder = folder.display();
    format!(
        r#"
scope: test
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{store}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql: {{use_pg_rewind: false}}
  initdb: [{{auth: trust}}, {{encoding: UTF8}}, {{locale: C}}, no-sync]
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
postgresql:
  listen: "127.0.0.1:{postgres}"
  connect_address: "127.0.0.1:{postgres}"
  data_dir: {folder}/{name}
  pgpass: {folder}/{name}.pgpass
  bin_dir: {bin}
  authentication: {{superuser: {{username: postgres}}, replication: {{username: postgres}}}}
  basebackup: [{{checkpoint: fast}}, no-sync]
  parameters: {{unix_socket_directories: "{folder}", fsync: "off"}}
"#
    )
}

/// What Patroni's documentation shows: connections to a server that is no primary any more are cut.
fn in_front(nodes: &[Node; 2], port: u16) -> String {
    let servers = nodes.iter().map(|Node { name, rest, postgres }| {
        format!("    server {name} 127.0.0.1:{postgres} check port {rest}\n")
    });
    format!(
        "defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 1h\n    timeout server 1h\n    timeout check 1s\n\
         listen primary\n    bind 127.0.0.1:{port}\n    option httpchk GET /primary\n    http-check expect status 200\n    \
         default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions\n{}",
        servers.collect::<String>()
    )
}

/// Where the programs of PostgreSQL are.
async fn bin_dir() -> String {
    let database = database().await;
    let sql = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
    connected(database.config()).await.query_one_scalar(sql, &[]).await.expect("a folder")
}
