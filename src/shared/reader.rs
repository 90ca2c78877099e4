//! The task that takes the answers of a shared session off the wire.
//!
//! The driver hands an answer over in pieces, and stops when one is not taken. So one asker who does not poll its future would stop
//! everybody. This task takes every answer to its end, whoever has asked, and looks after what takes too long.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};

use super::queue::{Answered, InFlight, Next};
use super::shared_session::SharedSession;

/// Starts to read the answers of a session, on the current runtime. Calls `end` when the session goes back to the pool.
pub(super) fn start(
    session: Arc<SharedSession>,
    end: impl FnOnce(&Arc<SharedSession>) + Send + Sync + 'static,
) {
    // Created before the task: a runtime that has stopped drops the task without polling it.
    let reader = Reader { session, end: Some(Box::new(end)) };
    tokio::spawn(reader.read());
}

/// Tells the holder of a session that it goes back to the pool.
type End = dyn FnOnce(&Arc<SharedSession>) + Send + Sync;

/// Its drop gives up the answers that have not been read, as when its runtime stops.
struct Reader {
    session: Arc<SharedSession>,
    end: Option<Box<End>>,
}

impl Reader {
    async fn read(self) {
        let mut timer = pin!(sleep(self.session.limits.slow));
        while let Some(mut head) = poll_fn(|cx| self.poll_next(cx, timer.as_mut())).await {
            match poll_fn(|cx| self.poll_head(cx, timer.as_mut(), &mut head)).await {
                Some(answered) => self.session.answered(head, answered),
                None => return,
            }
        }
    }

    /// Takes the next message. `None` when the session goes back to the pool.
    fn poll_next(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Option<InFlight>> {
        loop {
            let used = match self.session.next(cx) {
                Next::Head(head) => return Poll::Ready(Some(head)),
                Next::End => return Poll::Ready(None),
                Next::Idle(used) => used.unwrap_or_else(Instant::now),
            };
            ready!(timer.as_mut().poll(cx));
            let until = used + self.session.longest_rest();
            if until <= Instant::now() {
                self.session.retire();
            } else {
                timer.as_mut().reset(until);
            }
        }
    }

    /// Reads the answer of the head. `None` if it has to be given up.
    fn poll_head(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        head: &mut InFlight,
    ) -> Poll<Option<Answered>> {
        if let Poll::Ready(answered) = head.answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        let limits = self.session.limits;
        loop {
            let abandoned = head.overdue && (head.is_ours() || head.is_abandoned(cx));
            if head.overdue && !abandoned {
                return Poll::Pending;
            }
            let bound =
                if abandoned { self.session.pool().session_settings().reset_timeout } else { limits.slow };
            if abandoned {
                self.session.cancel();
            }
            let until = head.since + bound;
            if timer.deadline() > until {
                timer.as_mut().reset(until);
            }
            ready!(timer.as_mut().poll(cx));
            match (Instant::now() < until, abandoned) {
                (true, _) => timer.as_mut().reset(until),
                (false, false) => self.session.overdue(head),
                (false, true) => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.session.fail();
        if let Some(end) = self.end.take() {
            end(&self.session);
        }
    }
}
