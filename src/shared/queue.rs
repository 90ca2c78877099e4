//! What was sent on a shared session and is not answered, in the order of the answers.
//!
//! The driver answers in the order in which it was asked. So the queue knows whose answer comes next, the head, which the
//! [`reader`](super::reader) has; the others are behind it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::stats::{Overdue, StatementInfo};
use crate::tokio_postgres::{Error, Row};

/// What was sent and is not answered.
#[derive(Default)]
pub(super) struct Queue {
    /// Those behind the head, which the reader has.
    pub(super) behind: VecDeque<InFlight>,
    /// When the head became the oldest one that is not answered.
    pub(super) head_since: Option<Instant>,
    /// The head is overdue.
    pub(super) late: bool,
    /// How long those in flight take together at least.
    pub(super) load: Duration,
    /// The Parse that is not answered.
    pub(super) parse: Option<Parse>,
    /// The numbers of messages that were sent, and that were answered.
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Takes no new ones, and goes back to the pool after the last answer.
    pub(super) retired: bool,
    /// A cancel request was sent. It may hit any of those that are in flight.
    pub(super) cancelled: bool,
    /// Its answers are lost.
    pub(super) broken: bool,
    pub(super) used: Option<Instant>,
    pub(super) reset: Option<Instant>,
    /// The reader, while there is nothing to read.
    pub(super) reader: Option<Waker>,
}

/// A Parse that was sent.
#[derive(Clone, Copy)]
pub(super) struct Parse {
    /// The number of messages that were sent before it.
    behind: u64,
    /// When it was sent, or the last of those before it was answered.
    since: Instant,
}

/// A message that was sent.
pub(super) struct InFlight {
    /// Polled once, it has been sent.
    pub(super) answer: BoxFuture<'static, Answered>,
    /// When it was sent, or became the head.
    pub(super) since: Instant,
    /// Who asked. `None` for a reset.
    pub(super) asker: Option<Asker>,
    /// How long it takes at least.
    expected: Duration,
    /// Keeps its text from being shared, while it is overdue.
    pub(super) blamed: Option<Overdue>,
}

pub(super) struct Asker {
    pub(super) info: Arc<StatementInfo>,
    pub(super) tell: oneshot::Sender<Told>,
    pub(super) told_late: bool,
}

/// What an asker is told.
pub(super) enum Told {
    Answer(Result<Rows, Error>),
    /// One before it takes too long. The answer will come here.
    Late(oneshot::Receiver<Told>),
}

/// What was read off the wire.
pub(super) enum Answered {
    Read(Result<Rows, Error>),
    /// Whether the session is as it should be, and in step.
    Reset(bool),
}

/// The rows of an answer, or the first of them, and how many there are.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) count: u64,
}

impl Queue {
    /// Sends a message by polling it for the first time. `false` if the session is closed.
    pub(super) fn send(&mut self, mut message: InFlight) -> bool {
        let sent = message.answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if sent.is_ready() {
            self.retire();
            return false;
        }
        self.load += message.expected;
        self.behind.push_back(message);
        self.sent += 1;
        self.wake_reader();
        true
    }

    /// Records that a Parse is sent.
    pub(super) fn parses(&mut self, now: Instant) {
        self.parse = Some(Parse { behind: self.sent, since: now });
    }

    /// Since when the Parse has been the oldest message that is not answered, as far as the queue can see. `None` if it is not.
    pub(super) fn parse_is_oldest_since(&self) -> Option<Instant> {
        self.parse.filter(|parse| parse.behind == self.answered).map(|parse| parse.since)
    }

    /// The next message to be read, for the reader.
    pub(super) fn next(&mut self, cx: &Context<'_>) -> Next {
        if let Some(mut head) = self.behind.pop_front() {
            head.since = self.head_since.map_or(head.since, |last| last.max(head.since));
            self.head_since = Some(head.since);
            return Next::Head(head);
        }
        self.head_since = None;
        if self.retired {
            return Next::End;
        }
        self.reader = Some(cx.waker().clone());
        Next::Idle(self.used)
    }

    /// Records that the head has been answered, and says whether it was held up by another one.
    pub(super) fn answered(&mut self, head: &InFlight, now: Instant) -> bool {
        self.head_since = Some(now);
        self.used = Some(now);
        self.answered += 1;
        self.load = self.load.saturating_sub(head.expected);
        if let Some(parse) = self.parse.as_mut().filter(|parse| parse.behind == self.answered) {
            parse.since = now;
        }
        mem::take(&mut self.late) && head.blamed.is_none()
    }

    /// Records that the head has been unanswered for too long. Returns whom to tell, and where their answers will come from.
    pub(super) fn overdue(
        &mut self,
        head: &mut InFlight,
    ) -> Vec<(oneshot::Sender<Told>, oneshot::Receiver<Told>)> {
        self.late = true;
        let mut late = Vec::new();
        // It is the Parse that takes long.
        if self.parse_is_oldest_since().is_some() {
            late.extend(head.is_late());
        } else if let Some(asker) = &head.asker {
            head.blamed = Some(Overdue::new(asker.info.sharing()));
        }
        late.extend(self.behind.iter_mut().filter_map(InFlight::is_late));
        late
    }

    /// Gives up all answers. To drop them tells their askers.
    pub(super) fn fail(&mut self) -> VecDeque<InFlight> {
        self.broken |= self.oldest().is_some() || self.parse.is_some();
        self.retire();
        mem::take(&mut self.behind)
    }

    /// Takes no new ones from now on.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Since when the oldest message has not been answered.
    pub(super) fn oldest(&self) -> Option<Instant> {
        match &self.reader {
            // Nothing is in flight.
            Some(_) => None,
            None => self.head_since.or_else(|| self.behind.front().map(|message| message.since)),
        }
    }

    pub(super) fn idle(&self, now: Instant) -> Duration {
        self.used.map_or(Duration::ZERO, |used| now.saturating_duration_since(used))
    }

    pub(super) fn depth(&self) -> usize {
        self.behind.len() + usize::from(self.head_since.is_some())
    }
}

impl InFlight {
    pub(super) fn new(answer: BoxFuture<'static, Answered>, since: Instant, asker: Option<Asker>) -> Self {
        let expected = asker.as_ref().map_or(Duration::ZERO, |asker| asker.info.sharing().least());
        Self { answer, since, asker, expected, blamed: None }
    }

    /// What its asker is to be told, unless it has been. The answer is told through another channel then.
    fn is_late(&mut self) -> Option<(oneshot::Sender<Told>, oneshot::Receiver<Told>)> {
        let asker = self.asker.as_mut().filter(|asker| !asker.told_late)?;
        asker.told_late = true;
        let (tell, told) = oneshot::channel();
        Some((mem::replace(&mut asker.tell, tell), told))
    }

    /// Whether nobody has asked: it is a reset.
    pub(super) fn is_ours(&self) -> bool {
        self.asker.is_none()
    }

    /// Whether the asker has gone. If not, the reader is woken when that changes.
    pub(super) fn is_abandoned(&mut self, cx: &mut Context<'_>) -> bool {
        self.asker.as_mut().is_some_and(|asker| asker.tell.poll_closed(cx).is_ready())
    }
}

/// What the reader does next.
pub(super) enum Next {
    Head(InFlight),
    /// Nothing is in flight. The session was last used then.
    Idle(Option<Instant>),
    End,
}

#[cfg(test)]
mod tests;
