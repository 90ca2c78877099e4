//! The load: clients that each send a request, read the whole answer, compare it with what is right, and send the next.
//!
//! One thread drives them all, so that it takes little of the processors that the servers and PostgreSQL need. The time of
//! every answer counts, and of every request that was sent: a load that ends while some are waiting waits for them as well.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::app::{Route, USERS};
use crate::contenders::Outcome;
use crate::loads::{Load, Placement};

/// Ends a load whose server has stopped answering.
const SILENCE: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    started: bool,
}

/// What was seen between two points in time.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) elapsed: Duration,
    /// Answered in that time, rightly or not.
    pub(crate) answers: u64,
    /// In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Those of them that were not right.
    pub(crate) wrong: u64,
    /// The first of those, as it came.
    pub(crate) first_wrong: Option<String>,
}

impl Clients {
    pub(crate) fn connect(addr: SocketAddr, load: &Load) -> Outcome<Self> {
        let streams = match load.placement {
            Placement::Even => {
                (0..load.clients).map(|_| net::TcpStream::connect(addr)).collect::<io::Result<Vec<_>>>()?
            }
            Placement::Uneven => unevenly(addr, load.clients)?,
        };
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(streams.len());
        for (at, stream) in streams.into_iter().enumerate() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            clients.push(Client::new(stream, load.route, at));
        }
        Ok(Self { poll, events: Events::with_capacity(load.clients), clients, started: false })
    }

    /// Keeps all clients busy for a while. May be called again.
    pub(crate) fn drive(&mut self, duration: Duration) -> Outcome<Driven> {
        if !self.started {
            self.started = true;
            self.clients.iter_mut().try_for_each(Client::send)?;
        }
        let mut driven = Driven::new()?;
        let start = Instant::now();
        while let Some(left) = duration.checked_sub(start.elapsed()) {
            self.turn(left, &mut driven, Client::send)?;
        }
        driven.elapsed = start.elapsed();
        Ok(driven)
    }

    /// Waits for the answers that are still to come. They count as latencies, but not as answers in the time.
    pub(crate) fn finish(mut self, mut driven: Driven) -> Outcome<Driven> {
        let (answers, wrong, mut late) = (driven.answers, driven.wrong, Instant::now());
        let mut pending = self.clients.len();
        while pending > 0 {
            let before = driven.answers;
            self.turn(SILENCE, &mut driven, |_| Ok(()))?;
            let answered = (driven.answers - before) as usize;
            if answered > 0 {
                late = Instant::now();
            } else if late.elapsed() > SILENCE {
                return Err(format!("{pending} requests were never answered").into());
            }
            pending -= answered;
        }
        driven.answers = answers;
        driven.wrong = wrong;
        Ok(driven)
    }

    /// Reads what has come, within the time that is left.
    fn turn(
        &mut self,
        left: Duration,
        driven: &mut Driven,
        next: fn(&mut Client) -> io::Result<()>,
    ) -> Outcome {
        if let Err(err) = self.poll.poll(&mut self.events, Some(left))
            && err.kind() != io::ErrorKind::Interrupted
        {
            return Err(err.into());
        }
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            if let Some(answer) = client.receive()? {
                driven.count(&answer);
                if !answer.right && driven.first_wrong.is_none() {
                    let text = String::from_utf8_lossy(&client.response);
                    driven.first_wrong = Some(text.into_owned());
                }
                next(client)?;
            }
        }
        Ok(())
    }
}

impl Driven {
    fn new() -> Outcome<Self> {
        Ok(Self {
            elapsed: Duration::ZERO,
            answers: 0,
            latencies: Histogram::new_with_bounds(1, SILENCE.as_nanos() as u64, 3)?,
            wrong: 0,
            first_wrong: None,
        })
    }

    fn count(&mut self, answer: &Answer) {
        self.answers += 1;
        self.wrong += u64::from(!answer.right);
        let nanoseconds = u64::try_from(answer.latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanoseconds);
    }
}

/// One connection, with one request on its way at any time.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    route: Route,
    random: u64,
    request: Vec<u8>,
    response: Vec<u8>,
    right_body: Vec<u8>,
    sent_at: Instant,
}

#[derive(Debug)]
struct Answer {
    latency: Duration,
    right: bool,
}

impl Client {
    fn new(stream: TcpStream, route: Route, at: usize) -> Self {
        Self {
            stream,
            route,
            random: 0x9E37_79B9_7F4A_7C15 ^ (at as u64 + 1),
            request: Vec::with_capacity(256),
            response: Vec::with_capacity(4096),
            right_body: Vec::with_capacity(1024),
            sent_at: Instant::now(),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let id = self.random_id();
        self.request.clear();
        self.request.extend_from_slice(b"GET ");
        self.route.write_path(id, &mut self.request);
        self.request.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.right_body.clear();
        self.route.write_answer(id, &mut self.right_body);
        self.response.clear();
        self.sent_at = Instant::now();
        // The last request has been answered, so there is room for this one.
        self.stream.write_all(&self.request)
    }

    /// The answer, if it is complete.
    fn receive(&mut self) -> Outcome<Option<Answer>> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("a server has hung up".into()),
                Ok(length) => {
                    self.response.extend_from_slice(&chunk[..length]);
                    // A chunk that is not full is the last for now.
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => return Err(err.into()),
            }
        }
        let Some((status, body)) = parse(&self.response)? else {
            return Ok(None);
        };
        Ok(Some(Answer { latency: self.sent_at.elapsed(), right: status == 200 && *body == self.right_body }))
    }

    /// xorshift64.
    fn random_id(&mut self) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % USERS as u64) as i64 + 1
    }
}

/// Status and body of a response; `None` if there is more to come.
fn parse(response: &[u8]) -> Outcome<Option<(u16, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(response)? else {
        return Ok(None);
    };
    let length = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .ok_or("a response without content-length")?;
    let length: usize = str::from_utf8(length.value)?.parse()?;
    let body = response.get(start..start + length);
    Ok(head.code.zip(body))
}

/// Connections of which seven in eight are served by the same worker.
///
/// Actix Web deals connections out to its workers in turn, so more are opened than are kept.
fn unevenly(addr: SocketAddr, clients: usize) -> Outcome<Vec<net::TcpStream>> {
    let mut by_worker: BTreeMap<Vec<u8>, Vec<net::TcpStream>> = BTreeMap::new();
    for _ in 0..clients * 2 {
        let mut stream = net::TcpStream::connect(addr)?;
        by_worker.entry(worker(&mut stream)?).or_default().push(stream);
    }
    let few = clients / 8;
    let mut workers = by_worker.into_values();
    let (mut many, others) = (workers.next(), workers.next());
    let kept: Vec<_> = many
        .iter_mut()
        .flat_map(|many| many.drain(..))
        .take(clients - few)
        .chain(others.into_iter().flatten().take(few))
        .collect();
    if kept.len() < clients {
        return Err("the uneven load needs two workers".into());
    }
    Ok(kept)
}

fn worker(stream: &mut net::TcpStream) -> Outcome<Vec<u8>> {
    stream.write_all(b"GET /worker HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut response = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err("a server has hung up".into());
        }
        response.extend_from_slice(&chunk[..length]);
        if let Some((_, body)) = parse(&response)? {
            return Ok(body.to_vec());
        }
    }
}
