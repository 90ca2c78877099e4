//! The connection of a request in every order of borrow, answer, cancel, release, close and end.
//!
//! A [`Model`] of a few lines says after each step what has to be: who was answered, who waits, how many statements stand
//! before the server, how many sessions are lent. The schedules are generated: all short ones, and long ones at random.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use actix_pg::{ClientGuard, Connection, Database, Error, Result};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, rt, web};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};
use test_support::{FakeServer, Phase, assert_whole, connected, eventually, soon};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Starts a statement on the request's connection.
    Use,
    /// The server answers the oldest unanswered statement; or the newest.
    AnswerOldest,
    AnswerNewest,
    /// Whoever started the oldest pending statement goes away; or the newest.
    CancelOldest,
    CancelNewest,
    Release,
    Close,
    /// The handler answers.
    End,
    /// Somebody else borrows a session that is free; or gives it back.
    Take,
    GiveBack,
    /// Cancel requests, held back until now, are carried out.
    Mend,
}

const STEPS: [Step; 11] = [
    Step::Use,
    Step::Release,
    Step::CancelOldest,
    Step::AnswerOldest,
    Step::End,
    Step::Close,
    Step::Take,
    Step::GiveBack,
    Step::CancelNewest,
    Step::AnswerNewest,
    Step::Mend,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Borrowing,
    /// The index of a lease.
    Leased(usize),
    Detached,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Waits for a session, of its own if the request is over.
    Waiting,
    /// Uses a lease.
    Using(usize),
    Answered,
    RefusedAsClosed,
    Cancelled,
}

/// What one who stands at the gate of the pool wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiter {
    Scope,
    Alone(usize),
}

/// What the server has received of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Prepare(usize),
    Execute(usize),
}

#[derive(Debug, Default)]
struct Lease {
    users: Vec<usize>,
    /// What the server has not yet answered.
    sent: VecDeque<Message>,
    abandoned: bool,
    in_repair: bool,
    returned: bool,
}

#[derive(Debug)]
struct Model {
    state: State,
    tasks: Vec<Task>,
    answered: Vec<bool>,
    leases: Vec<Lease>,
    queue: VecDeque<Waiter>,
    free: usize,
    others: usize,
    cancels_held: bool,
    ended: bool,
}

/// What a step gave back at once.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Granted,
    Busy,
}

impl Model {
    fn new(size: usize, cancels_held: bool) -> Self {
        Self {
            state: State::Idle,
            tasks: Vec::new(),
            answered: Vec::new(),
            leases: Vec::new(),
            queue: VecDeque::new(),
            free: size,
            others: 0,
            cancels_held,
            ended: false,
        }
    }

    fn pending(&self) -> impl DoubleEndedIterator<Item = usize> {
        let pending = |task: &usize| matches!(self.tasks[*task], Task::Waiting | Task::Using(_));
        (0..self.tasks.len()).filter(pending)
    }

    fn unanswered(&self) -> impl DoubleEndedIterator<Item = usize> {
        (0..self.tasks.len()).filter(|task| !self.answered[*task])
    }

    fn is_possible(&self, step: Step) -> bool {
        match step {
            Step::Use => self.tasks.len() < 4,
            Step::AnswerOldest => self.unanswered().next().is_some(),
            Step::AnswerNewest => self.unanswered().count() > 1,
            Step::CancelOldest => self.pending().next().is_some(),
            Step::CancelNewest => self.pending().count() > 1,
            Step::Release | Step::Close => true,
            Step::End => !self.ended,
            Step::Take => self.free > 0,
            Step::GiveBack => self.others > 0,
            Step::Mend => self.cancels_held,
        }
    }

    fn apply(&mut self, step: Step, task: Option<usize>) -> Outcome {
        let outcome = match step {
            Step::Use => self.start(),
            Step::AnswerOldest | Step::AnswerNewest => {
                self.answered[task.expect("a statement")] = true;
                Outcome::Nothing
            }
            Step::CancelOldest | Step::CancelNewest => self.cancel(task.expect("a task")),
            Step::Release => self.leave(State::Idle),
            Step::Close => self.leave(State::Closed),
            Step::End => {
                self.ended = true;
                if self.state != State::Closed {
                    self.state = State::Detached;
                }
                Outcome::Nothing
            }
            Step::Take => {
                self.free -= 1;
                self.others += 1;
                Outcome::Nothing
            }
            Step::GiveBack => {
                self.free += 1;
                self.others -= 1;
                Outcome::Nothing
            }
            Step::Mend => {
                self.cancels_held = false;
                Outcome::Nothing
            }
        };
        while self.something_happens() {}
        outcome
    }

    fn start(&mut self) -> Outcome {
        let task = self.tasks.len();
        self.answered.push(false);
        self.tasks.push(Task::Waiting);
        match self.state {
            State::Idle => {
                self.state = State::Borrowing;
                self.queue.push_back(Waiter::Scope);
            }
            State::Borrowing => {}
            State::Leased(lease) => self.enter(task, lease),
            State::Detached => self.queue.push_back(Waiter::Alone(task)),
            State::Closed => self.tasks[task] = Task::RefusedAsClosed,
        }
        Outcome::Nothing
    }

    fn enter(&mut self, task: usize, lease: usize) {
        self.tasks[task] = Task::Using(lease);
        self.leases[lease].users.push(task);
        if !self.leases[lease].in_repair {
            self.leases[lease].sent.push_back(Message::Prepare(task));
        }
    }

    fn cancel(&mut self, task: usize) -> Outcome {
        match std::mem::replace(&mut self.tasks[task], Task::Cancelled) {
            Task::Using(lease) => {
                let lease = &mut self.leases[lease];
                lease.users.retain(|user| *user != task);
                // A user who waits for a repair has sent nothing.
                lease.abandoned |= !lease.in_repair;
            }
            _ => self.queue.retain(|waiter| *waiter != Waiter::Alone(task)),
        }
        let waits = self.tasks.contains(&Task::Waiting);
        if !waits {
            self.queue.retain(|waiter| *waiter != Waiter::Scope);
        }
        if self.state == State::Borrowing && !waits {
            self.state = State::Idle;
        }
        Outcome::Nothing
    }

    fn leave(&mut self, next: State) -> Outcome {
        let busy = match self.state {
            State::Borrowing => true,
            State::Leased(lease) => !self.leases[lease].users.is_empty(),
            State::Idle | State::Detached | State::Closed => false,
        };
        if busy {
            return Outcome::Busy;
        }
        self.state = match (self.state, next) {
            (State::Closed, _) => State::Closed,
            (State::Detached, State::Idle) => State::Detached,
            (_, next) => next,
        };
        Outcome::Granted
    }

    /// Every gate is opened, and the others give back what they have.
    fn finish(&mut self) {
        self.free += std::mem::take(&mut self.others);
        self.cancels_held = false;
        self.answered.fill(true);
        while self.something_happens() {}
    }

    /// One event that nobody has to cause.
    fn something_happens(&mut self) -> bool {
        if self.free > 0
            && let Some(waiter) = self.queue.pop_front()
        {
            self.lend(waiter);
            return true;
        }
        (0..self.leases.len()).any(|lease| self.something_happens_on(lease))
    }

    fn lend(&mut self, waiter: Waiter) {
        if waiter == Waiter::Scope && self.state != State::Borrowing {
            // The request is over: of those who waited together the first keeps the turn, and the others go their own ways;
            // unless somebody has closed it since.
            let mut kept = self.state != State::Detached;
            for task in 0..self.tasks.len() {
                if self.tasks[task] != Task::Waiting || self.queue.contains(&Waiter::Alone(task)) {
                    continue;
                }
                match self.state {
                    State::Closed => self.tasks[task] = Task::RefusedAsClosed,
                    _ if !std::mem::replace(&mut kept, true) => self.lend(Waiter::Alone(task)),
                    _ => self.queue.push_back(Waiter::Alone(task)),
                }
            }
            return;
        }
        self.free -= 1;
        let lease = self.leases.len();
        self.leases.push(Lease::default());
        match waiter {
            Waiter::Alone(task) => self.enter(task, lease),
            Waiter::Scope => {
                self.state = State::Leased(lease);
                for task in 0..self.tasks.len() {
                    if self.tasks[task] == Task::Waiting {
                        self.enter(task, lease);
                    }
                }
            }
        }
    }

    fn something_happens_on(&mut self, index: usize) -> bool {
        let lease = &mut self.leases[index];
        if lease.returned {
            return false;
        }
        match lease.sent.front().copied() {
            Some(Message::Prepare(task)) => {
                lease.sent.pop_front();
                if self.tasks[task] == Task::Using(index) {
                    lease.sent.push_back(Message::Execute(task));
                }
                return true;
            }
            Some(Message::Execute(task)) if self.answered[task] => {
                lease.sent.pop_front();
                if self.tasks[task] == Task::Using(index) {
                    self.tasks[task] = Task::Answered;
                    lease.users.retain(|user| *user != task);
                }
                return true;
            }
            _ => {}
        }
        if lease.abandoned && !lease.in_repair && lease.users.is_empty() {
            lease.in_repair = true;
            return true;
        }
        if lease.in_repair && !self.cancels_held {
            lease.sent.pop_front();
            if !lease.sent.is_empty() {
                // The statement behind it was abandoned as well; it is cancelled in its turn.
                return true;
            }
            (lease.in_repair, lease.abandoned) = (false, false);
            lease.sent = lease.users.iter().map(|task| Message::Prepare(*task)).collect();
            return true;
        }
        if lease.users.is_empty() && !lease.in_repair && self.state != State::Leased(index) {
            lease.returned = true;
            self.free += 1;
            return true;
        }
        false
    }

    /// Whether a repair has more than one statement to cancel: how soon it gets through is not promised.
    fn is_beyond_promises(&self) -> bool {
        self.leases.iter().any(|lease| {
            let executing = |message: &&Message| matches!(message, Message::Execute(_));
            lease.abandoned && lease.sent.iter().filter(executing).count() > 1
        })
    }

    fn before_the_server(&self) -> usize {
        let stands = |lease: &&Lease| matches!(lease.sent.front(), Some(Message::Execute(_)));
        self.leases.iter().filter(|lease| !lease.returned).filter(stands).count()
    }

    fn lent(&self) -> usize {
        self.others + self.leases.iter().filter(|lease| !lease.returned).count()
    }
}

/// The real thing, driven by the same steps.
struct Run {
    server: FakeServer,
    db: Database,
    conn: Connection,
    end: Option<oneshot::Sender<()>>,
    request: JoinHandle<()>,
    tasks: Vec<JoinHandle<Result<u64>>>,
    others: Vec<ClientGuard>,
}

impl Run {
    async fn new(size: u32, cancels_held: bool) -> Self {
        let server = FakeServer::start().await;
        let db = connected(server.config(size)).await;
        server.hold(Phase::Statement);
        if cancels_held {
            server.hold(Phase::Cancel);
        }
        let (end, ended) = oneshot::channel();
        let (send, handle) = oneshot::channel();
        let both = Rc::new(RefCell::new(Some((send, ended))));
        let handler = move |conn: Connection| {
            let (send, ended) = both.borrow_mut().take().expect("one request");
            send.send(conn).expect("a receiver");
            async {
                let _ = ended.await;
                "ended"
            }
        };
        let app = init_service(App::new().wrap(db.middleware()).route("/", web::get().to(handler))).await;
        let request = rt::spawn(async move {
            call_service(&app, TestRequest::default().to_request()).await;
        });
        let conn = handle.await.expect("a handle");
        Self { server, db, conn, end: Some(end), request, tasks: Vec::new(), others: Vec::new() }
    }

    async fn apply(&mut self, step: Step, task: Option<usize>) -> Outcome {
        let left = |left: Result<()>| match left {
            Ok(()) => Outcome::Granted,
            Err(Error::Busy(_)) => Outcome::Busy,
            Err(err) => panic!("{err:?}"),
        };
        match step {
            Step::Use => {
                let (conn, sql) = (self.conn.clone(), sql(self.tasks.len()));
                self.tasks.push(rt::spawn(async move { conn.execute(&sql, &[]).await }));
                // The first poll is what starts it.
                tokio::task::yield_now().await;
            }
            Step::AnswerOldest | Step::AnswerNewest => self.server.answer(&sql(task.expect("a statement"))),
            Step::CancelOldest | Step::CancelNewest => {
                let task = &mut self.tasks[task.expect("a task")];
                task.abort();
                let ended = std::mem::replace(task, rt::spawn(std::future::pending()));
                assert!(ended.await.is_err(), "it was answered before it was cancelled");
            }
            Step::Release => return left(self.conn.release()),
            Step::Close => return left(self.conn.close()),
            Step::End => drop(self.end.take()),
            Step::Take => {
                let guard = soon("a free session", self.db.connection().client()).await;
                self.others.push(guard.expect("a free session"));
            }
            Step::GiveBack => drop(self.others.pop()),
            Step::Mend => self.server.open(Phase::Cancel),
        }
        Outcome::Nothing
    }

    /// Waits until what the model says is so.
    async fn agrees_with(&mut self, model: &Model, schedule: &[Step]) {
        let mut differences = String::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
        for round in 0.. {
            let status = self.db.status();
            let done = |task: &Task| matches!(task, Task::Answered | Task::RefusedAsClosed);
            let expected: Vec<_> = model.tasks.iter().map(done).collect();
            let actual: Vec<_> = self.tasks.iter().map(JoinHandle::is_finished).collect();
            let expected =
                (expected, model.before_the_server(), model.lent(), model.queue.len(), model.ended);
            let actual = (
                actual,
                self.server.before(Phase::Statement),
                status.used as usize,
                status.pending_requests as usize,
                self.request.is_finished(),
            );
            if expected == actual {
                return;
            }
            differences = format!("expected {expected:?}, found {actual:?}");
            if std::time::Instant::now() > deadline {
                break;
            }
            match round {
                0..200 => tokio::task::yield_now().await,
                _ => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            }
        }
        panic!(
            "(answered, before the server, lent, waiting, ended): {differences}\nafter {schedule:?}\n{model:#?}"
        );
    }

    /// Lets everything end, and counts.
    async fn ends_whole(self, model: &Model) {
        let Self { server, db, conn, end, request, tasks, others } = self;
        drop(others);
        server.open_all();
        for (task, expected) in tasks.into_iter().zip(&model.tasks) {
            match expected {
                Task::Cancelled => task.abort(),
                Task::RefusedAsClosed => {
                    let refused = soon("a refusal", task).await.expect("joined");
                    assert!(matches!(refused, Err(Error::ConnectionClosed)), "{refused:?}");
                }
                Task::Waiting | Task::Using(_) => panic!("it cannot end: {model:#?}"),
                Task::Answered => {
                    assert_eq!(soon("an answer", task).await.expect("joined").expect("an answer"), 1);
                }
            }
        }
        drop(end);
        soon("the request's end", request).await.expect("a request that ended well");
        drop(conn);
        assert_whole(&db).await;
        eventually("the server agrees", async || server.backends() == db.status().open as usize).await;
    }
}

fn sql(task: usize) -> String {
    format!("INSERT INTO statements VALUES ({task})")
}

/// Runs a schedule as far as its steps are possible; says how far that was.
fn run(size: u32, cancels_held: bool, schedule: &[Step]) -> usize {
    rt::System::new().block_on(async {
        let mut model = Model::new(size as usize, cancels_held);
        let mut run = Run::new(size, cancels_held).await;
        let mut done = Vec::new();
        for step in schedule.iter().copied().filter(|step| STEPS.contains(step)) {
            if !model.is_possible(step) {
                continue;
            }
            let task = match step {
                Step::AnswerOldest => model.unanswered().next(),
                Step::AnswerNewest => model.unanswered().next_back(),
                Step::CancelOldest => model.pending().next(),
                Step::CancelNewest => model.pending().next_back(),
                _ => None,
            };
            done.push(step);
            let expected = model.apply(step, task);
            let found = run.apply(step, task).await;
            assert_eq!(found, expected, "after {done:?}\n{model:#?}");
            if model.is_beyond_promises() {
                break;
            }
            run.agrees_with(&model, &done).await;
        }
        model.finish();
        run.ends_whole(&model).await;
        done.len()
    })
}

/// Every schedule of so many steps that begins like this, each step being possible.
fn every(size: usize, cancels_held: bool, steps: usize, so_far: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
    let mut model = Model::new(size, cancels_held);
    for step in so_far.iter().copied() {
        let task = match step {
            Step::AnswerOldest => model.unanswered().next(),
            Step::AnswerNewest => model.unanswered().next_back(),
            Step::CancelOldest => model.pending().next(),
            Step::CancelNewest => model.pending().next_back(),
            _ => None,
        };
        model.apply(step, task);
    }
    if so_far.len() == steps || model.is_beyond_promises() {
        all.push(so_far.clone());
        return;
    }
    for step in STEPS {
        if model.is_possible(step) {
            so_far.push(step);
            every(size, cancels_held, steps, so_far, all);
            so_far.pop();
        }
    }
}

/// P2, P3, P5, P6, P10, P18; cases 9 to 13: all schedules of four steps.
#[test]
fn every_short_schedule_ends_whole() {
    let mut all = Vec::new();
    every(1, false, 4, &mut Vec::new(), &mut all);
    println!("{} schedules", all.len());
    assert!(all.len() > 500, "{}", all.len());
    for schedule in &all {
        run(1, false, schedule);
    }
}

/// The same: long schedules at random, the same ones in each run.
#[test]
fn long_schedules_end_whole() {
    let config = Cases { cases: 300, failure_persistence: None, ..Cases::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let step = prop::sample::select(STEPS.to_vec());
    // Statements are what the rest is about.
    let step = prop_oneof![2 => Just(Step::Use), 5 => step];
    let schedules = (1..=2_u32, any::<bool>(), prop::collection::vec(step, 6..24));
    runner
        .run(&schedules, |(size, held, schedule)| {
            run(size, held, &schedule);
            Ok(())
        })
        .unwrap_or_else(|err| panic!("{err}"));
}
