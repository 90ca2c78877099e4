//! Every outcome of every phase of a borrow, with every outcome of the others that can come with it.

use std::time::{Duration, Instant};

use actix_pg::{AcquireError, Config, Database, Error};
use futures_util::StreamExt;
use futures_util::stream;
use rand::seq::SliceRandom;
use test_support::{FakeServer, Fault, Phase, connected, eventually};

use crate::common::{rng, seed, soon, times};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Error,
    /// Not before the gate is opened.
    Slow,
    Never,
    /// Slow, and whoever waits for it goes away. A reset, for which nobody waits, loses its connection.
    Dropped,
}

impl Outcome {
    fn fault(self, phase: Phase) -> Option<Fault> {
        match (self, phase) {
            (Self::Ok, _) => None,
            (Self::Error, Phase::Connect) => Some(Fault::Error("53300")),
            (Self::Error, Phase::Check) | (Self::Dropped, Phase::Simple) => Some(Fault::HangUp),
            (Self::Error, _) => Some(Fault::Error("22023")),
            (Self::Slow | Self::Dropped, _) => Some(Fault::Slow),
            (Self::Never, _) => Some(Fault::Silence),
        }
    }
}

/// `connect` is `None` if the session of before is still alive; `None` behind an end that comes earlier.
#[derive(Debug, Clone, Copy)]
struct Case {
    wait: Outcome,
    connect: Option<Outcome>,
    check: Option<Outcome>,
    run: Option<Outcome>,
    reset: Option<Outcome>,
}

const ALL: [Outcome; 5] = [Outcome::Ok, Outcome::Error, Outcome::Slow, Outcome::Never, Outcome::Dropped];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let begin = Case { wait: Outcome::Ok, connect: None, check: None, run: None, reset: None };
    for wait in ALL {
        let case = Case { wait, ..begin };
        if !matches!(wait, Outcome::Ok | Outcome::Slow) {
            cases.push(case);
            continue;
        }
        for connect in [None].into_iter().chain(ALL.map(Some)) {
            let case = Case { connect, ..case };
            if !matches!(connect, None | Some(Outcome::Ok | Outcome::Slow)) {
                cases.push(case);
                continue;
            }
            for check in ALL {
                let case = Case { check: Some(check), ..case };
                if check == Outcome::Dropped {
                    cases.push(case);
                    continue;
                }
                for run in ALL {
                    let reset = |reset| Case { run: Some(run), reset: Some(reset), ..case };
                    cases.extend(ALL.map(reset));
                }
            }
        }
    }
    cases
}

/// What the borrower has to be told; `None` if it has gone.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Well,
    QueueFull,
    TimedOut,
    Unavailable,
    CommandTimeout,
    Refused,
    Other(String),
}

impl Case {
    fn expected(&self) -> Option<Told> {
        match (self.wait, self.connect, self.check, self.run) {
            (Outcome::Error, ..) => Some(Told::QueueFull),
            (Outcome::Never, ..) => Some(Told::TimedOut),
            (_, Some(Outcome::Error | Outcome::Never), ..) => Some(Told::Unavailable),
            (Outcome::Dropped, ..) | (_, Some(Outcome::Dropped), ..) | (_, _, Some(Outcome::Dropped), _) => {
                None
            }
            (_, _, _, Some(Outcome::Error)) => Some(Told::Refused),
            (_, _, _, Some(Outcome::Never)) => Some(Told::CommandTimeout),
            (_, _, _, Some(Outcome::Dropped)) => None,
            _ => Some(Told::Well),
        }
    }

    /// Time-outs are short only where the case is about them: a busy machine must not add one.
    fn config(&self, server: &FakeServer) -> Config {
        let long = Duration::from_secs(50);
        let short = |at: Option<Outcome>, short| {
            if at == Some(Outcome::Never) { Duration::from_millis(short) } else { long }
        };
        Config {
            max_waiting: (self.wait == Outcome::Error).then_some(0),
            acquire_timeout: short(Some(self.wait), 1_500),
            connect_timeout: short(self.connect, 2_000),
            command_timeout: Some(short(self.run, 1_500)),
            reset_timeout: short(self.reset, 1_500).min(Duration::from_secs(20)),
            test_after_idle: Duration::ZERO,
            ..server.config(1)
        }
    }

    async fn run(self) {
        let server = FakeServer::start().await;
        let db = connected(self.config(&server)).await;
        let told = self.borrow(&server, &db).await;
        assert_eq!(told, self.expected(), "{self:?}");

        // No place is lost, and none is there twice.
        let conn = db.connection();
        let next = async {
            // Behind a failed connect everybody is told so until the next attempt, after 120 ms at most.
            let end = Instant::now() + Duration::from_millis(1500);
            loop {
                match conn.query("SELECT 1", &[]).await {
                    Err(Error::Acquire(AcquireError::Unavailable(_))) if Instant::now() < end => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => return other,
                }
            }
        };
        soon(&format!("the next borrower after {self:?}"), next)
            .await
            .unwrap_or_else(|err| panic!("{err:?} after {self:?}"));
        assert_eq!(db.status().used, 1, "{self:?}");
        // A server that does not answer any more is hung up on after a while, and may not have noticed.
        let answers = ![self.check, self.reset].contains(&Some(Outcome::Never));
        assert!(server.backends() == 1 || !answers, "{} backends after {self:?}", server.backends());
        drop(conn);
        let rest = || async {
            let status = db.status();
            status.used == 0 && status.pending_requests == 0 && status.idle == 1 && server.backends() == 1
        };
        eventually(&format!("rest after {self:?}"), rest).await;
        soon("closing", db.close()).await;
        assert_eq!(server.backends(), 0, "{self:?}");
    }

    async fn borrow(self, server: &FakeServer, db: &Database) -> Option<Told> {
        let holder = db.connection();
        if self.wait != Outcome::Ok {
            holder.query("SELECT 1", &[]).await.expect("the first session");
        }
        let phases = [
            (Phase::Connect, "", self.connect),
            (Phase::Check, "", self.check),
            (Phase::Statement, "SET", self.run),
            (Phase::Simple, "CLOSE ALL", self.reset),
        ];
        for (phase, part, outcome) in phases {
            if let Some(fault) = outcome.and_then(|outcome| outcome.fault(phase)) {
                server.script(phase, part, fault);
            }
        }
        if self.connect.is_some() {
            server.hang_up().await;
        }
        let conn = db.connection();
        let borrower = tokio::spawn(async move {
            let told = conn.execute("SET a.b = 1", &[]).await;
            drop(conn);
            told
        });
        if matches!(self.wait, Outcome::Slow | Outcome::Dropped) {
            eventually("it waits", || async { db.status().pending_requests == 1 }).await;
        }
        match self.wait {
            Outcome::Slow => holder.release().expect("nothing runs"),
            Outcome::Dropped => {
                borrower.abort();
                return told(borrower.await);
            }
            Outcome::Ok | Outcome::Error | Outcome::Never => {}
        }
        for (phase, _, outcome) in phases {
            match outcome {
                None | Some(Outcome::Ok | Outcome::Error | Outcome::Never) => {}
                Some(Outcome::Dropped) if phase == Phase::Simple => {}
                Some(Outcome::Slow) => {
                    soon(&format!("{phase:?} of {self:?}"), server.reached(phase)).await;
                    server.open(phase);
                }
                Some(Outcome::Dropped) => {
                    soon(&format!("{phase:?} of {self:?}"), server.reached(phase)).await;
                    borrower.abort();
                    // For what follows on the same session; the borrower is told nothing any more.
                    server.open(phase);
                }
            }
        }
        told(soon(&format!("the borrower of {self:?}"), borrower).await)
    }
}

fn told(told: Result<Result<u64, Error>, tokio::task::JoinError>) -> Option<Told> {
    Some(match told {
        Err(err) if err.is_cancelled() => return None,
        Err(err) => Told::Other(err.to_string()),
        Ok(Ok(_)) => Told::Well,
        Ok(Err(err)) => match err {
            Error::Acquire(AcquireError::QueueFull { .. }) => Told::QueueFull,
            Error::Acquire(AcquireError::TimedOut { .. }) => Told::TimedOut,
            Error::Acquire(AcquireError::Unavailable(_)) => Told::Unavailable,
            Error::CommandTimeout(_) => Told::CommandTimeout,
            Error::Postgres(err) if err.code().is_some_and(|code| code.code() == "22023") => Told::Refused,
            err => Told::Other(format!("{err:?}")),
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_of_every_phase_leaves_the_pool_whole() {
    let mut cases = cases();
    let all = cases.len();
    cases.shuffle(&mut rng(seed("phases"), 0));
    let wanted = times(120, all);
    cases.truncate(wanted);
    let mut running = stream::iter(cases).map(|case| tokio::spawn(case.run())).buffer_unordered(120);
    let mut done = 0;
    while let Some(case) = running.next().await {
        case.expect("a case that holds");
        done += 1;
    }
    eprintln!("phases: {done} of {all} combinations");
    assert_eq!(done, wanted);
}
