//! The task that takes the answers of a shared session off the wire.
//!
//! The driver hands an answer over in pieces, and stops when one is not taken. So one asker who does not poll its future would stop
//! everybody. This task takes every answer to its end, whoever has asked, and looks after what takes too long.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::task::yield_now;
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
            match self.read_head(timer.as_mut(), &mut head).await {
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
    async fn read_head(&self, mut timer: Pin<&mut Sleep>, head: &mut InFlight) -> Option<Answered> {
        let slow = self.session.limits.slow;
        let (mut since, mut again) = (head.since, false);
        loop {
            let answered = poll_fn(|cx| poll_until(cx, head, timer.as_mut(), since + slow)).await;
            if answered.is_some() {
                return answered;
            }
            // While this thread was busy, nothing was sent or received. So the driver gets a turn, and where the timer is late too, the
            // head gets the whole time once more.
            let late = Instant::now().saturating_duration_since(since + slow);
            yield_now().await;
            let answered = head.answer.as_mut().now_or_never();
            if answered.is_some() {
                return answered;
            }
            if again || late < slow / 2 {
                break;
            }
            (since, again) = (Instant::now(), true);
        }
        self.session.overdue(head);
        // Nobody waits for a reset, but all do behind it. It gets the time that it has elsewhere.
        if !head.is_ours() {
            let answered = poll_fn(|cx| match head.answer.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if head.is_abandoned(cx) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let answered = answered.await;
            if answered.is_some() {
                return answered;
            }
            self.session.cancel();
        }
        let bound = self.session.pool().session_settings().reset_timeout;
        let until = Instant::now() + bound;
        poll_fn(|cx| poll_until(cx, head, timer.as_mut(), until)).await
    }
}

/// Waits for an answer, for a while. `None` when that is over.
fn poll_until(
    cx: &mut Context<'_>,
    head: &mut InFlight,
    mut timer: Pin<&mut Sleep>,
    until: Instant,
) -> Poll<Option<Answered>> {
    loop {
        if let Poll::Ready(answered) = head.answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        // It is left as it is where it ends sooner: most heads are answered before it does.
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= until {
            return Poll::Ready(None);
        }
        timer.as_mut().reset(until);
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
