//! The model: requests that queue for a session of their process, for a server connection of a pooler, and for a core of the database.
//!
//! ```text
//!   arrivals ──> session of the process ──> server connection of the pooler ──> wait ──> core ──> the end
//!                 one queue a process         one queue, if there is a pooler            one queue
//! ```
//!
//! What a request has taken, it holds to its end. The wait is all that needs no core of the database: the network, a lock, a disk,
//! the handler itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// An application, and the server that it asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) processes: usize,
    /// `pool_max_size` of each.
    pub(super) sessions: usize,
    /// The server connections of a pooler in transaction mode. `None` if there is no pooler.
    pub(super) pooler: Option<usize>,
    pub(super) cores: usize,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) arrives: Duration,
    pub(super) wait: Duration,
    pub(super) core: Duration,
}

/// How long a request has waited for a session, and how long it took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) queued: Duration,
    pub(super) total: Duration,
}

/// Requests that arrive by chance, so many a second; their waits and their work are exponential, with these means. The same seed
/// makes the same ones.
pub(super) fn requests(seed: u64, count: usize, rate: f64, wait: Duration, core: Duration) -> Vec<Request> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut exponential = |mean: f64| -mean * (1.0 - rng.random::<f64>()).ln();
    let mut clock = 0.0;
    let request = |_| {
        clock += exponential(1.0 / rate);
        Request {
            arrives: Duration::from_secs_f64(clock),
            wait: Duration::from_secs_f64(exponential(wait.as_secs_f64())),
            core: Duration::from_secs_f64(exponential(core.as_secs_f64())),
        }
    };
    (0..count).map(request).collect()
}

/// Runs the model. The requests go to the processes in turn.
pub(super) fn run(model: Model, requests: &[Request]) -> Vec<Served> {
    let mut running = Running {
        model,
        requests,
        now: Duration::ZERO,
        next: 0,
        events: BinaryHeap::new(),
        sessions: vec![Resource::of(model.sessions); model.processes],
        pooler: Resource::of(model.pooler.unwrap_or(usize::MAX)),
        cores: Resource::of(model.cores),
        served: vec![Served { queued: Duration::ZERO, total: Duration::ZERO }; requests.len()],
    };
    for (index, request) in requests.iter().enumerate() {
        running.at(request.arrives, Step::Arrives, index);
    }
    while let Some(Reverse((now, _, step, index))) = running.events.pop() {
        running.now = now;
        running.step(step, index);
    }
    running.served
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Arrives,
    HasWaited,
    Ends,
}

/// So many of something, and who waits for one.
#[derive(Debug, Clone)]
struct Resource {
    free: usize,
    queue: VecDeque<usize>,
}

impl Resource {
    fn of(count: usize) -> Self {
        Self { free: count, queue: VecDeque::new() }
    }

    /// Takes one, or queues.
    fn take(&mut self, index: usize) -> bool {
        if self.free == 0 {
            self.queue.push_back(index);
            return false;
        }
        self.free -= 1;
        true
    }

    /// Gives one back, and says who has it now.
    fn give(&mut self) -> Option<usize> {
        let next = self.queue.pop_front();
        self.free += usize::from(next.is_none());
        next
    }
}

struct Running<'a> {
    model: Model,
    requests: &'a [Request],
    now: Duration,
    /// Keeps what happens at one moment in its order.
    next: u64,
    events: BinaryHeap<Reverse<(Duration, u64, Step, usize)>>,
    sessions: Vec<Resource>,
    pooler: Resource,
    cores: Resource,
    served: Vec<Served>,
}

impl Running<'_> {
    fn at(&mut self, when: Duration, step: Step, index: usize) {
        self.next += 1;
        self.events.push(Reverse((when, self.next, step, index)));
    }

    fn step(&mut self, step: Step, index: usize) {
        let process = index % self.model.processes;
        match step {
            Step::Arrives => {
                if self.sessions[process].take(index) {
                    self.has_session(index);
                }
            }
            Step::HasWaited => {
                if self.cores.take(index) {
                    self.has_core(index);
                }
            }
            Step::Ends => {
                self.served[index].total = self.now - self.requests[index].arrives;
                if let Some(next) = self.cores.give() {
                    self.has_core(next);
                }
                if let Some(next) = self.pooler.give() {
                    self.has_connection(next);
                }
                if let Some(next) = self.sessions[process].give() {
                    self.has_session(next);
                }
            }
        }
    }

    fn has_session(&mut self, index: usize) {
        self.served[index].queued = self.now - self.requests[index].arrives;
        if self.pooler.take(index) {
            self.has_connection(index);
        }
    }

    fn has_connection(&mut self, index: usize) {
        self.at(self.now + self.requests[index].wait, Step::HasWaited, index);
    }

    fn has_core(&mut self, index: usize) {
        self.at(self.now + self.requests[index].core, Step::Ends, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn arriving(at: &[u32]) -> Vec<Request> {
        at.iter().map(|at| Request { arrives: MS * *at, wait: MS * 10, core: MS }).collect()
    }

    fn served(model: Model, at: &[u32]) -> Vec<(u32, u32)> {
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).expect("short");
        let served = run(model, &arriving(at));
        served.iter().map(|one| (milliseconds(one.queued), milliseconds(one.total))).collect()
    }

    #[test]
    fn each_queue_is_first_come_first_served() {
        let model = Model { processes: 1, sessions: 1, pooler: None, cores: 9 };
        assert_eq!(served(model, &[0, 1, 2]), [(0, 11), (10, 21), (20, 31)]);
        assert_eq!(served(Model { sessions: 2, ..model }, &[0, 1, 2]), [(0, 11), (0, 11), (9, 20)]);
        // The third goes to the first process.
        assert_eq!(served(Model { processes: 2, ..model }, &[0, 1, 2]), [(0, 11), (0, 11), (9, 20)]);
        // Within the pooler nobody waits for a session.
        let pooled = Model { sessions: 3, pooler: Some(1), ..model };
        assert_eq!(served(pooled, &[0, 1, 2]), [(0, 11), (0, 21), (0, 31)]);
        let cores = Model { sessions: 3, cores: 1, ..model };
        assert_eq!(served(cores, &[0, 0, 0]), [(0, 11), (0, 12), (0, 13)]);
    }

    /// The formula for one queue: the mean time in it is the load over one minus the load, times the service.
    #[test]
    fn one_server_waits_as_the_theory_says() {
        let requests = requests(1, 200_000, 80.0, Duration::ZERO, MS * 10);
        let model = Model { processes: 1, sessions: 1, pooler: None, cores: 1 };
        let queued: f64 = run(model, &requests).iter().map(|one| one.queued.as_secs_f64()).sum();
        let mean = queued / requests.len() as f64;
        assert!((0.036..0.044).contains(&mean), "{mean} s, not 0.04");
    }
}
