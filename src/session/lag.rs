//! How far a standby may be behind its primary, measured against what the primary had written.
//!
//! ```text
//!   primary ──position, four times within the bound──> the positions of late
//!                                                           │
//!   standby ──how far it has replayed──> at least a position of late enough?
//! ```
//!
//! The clock is that of this process. So the bound holds where the clocks of the servers differ, where nobody writes to the primary,
//! and where a standby has lost its primary and does not know it, all of which deceive `pg_last_xact_replay_timestamp()`.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::position::{Position, Replayed};
use crate::tokio_postgres::{Client, Error};

/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How far a standby may be behind, and how far the primary was of late. The reader's connector holds it.
pub(crate) struct LagBound {
    most: Duration,
    known: watch::Sender<Known>,
    /// Somebody waits for a later position of the primary.
    wanted: Notify,
}

/// What is known of the primary.
#[derive(Default)]
struct Known {
    /// Where it was, and since when it was asked. All of them are of one timeline.
    positions: VecDeque<(Instant, Position)>,
    latest: Answer,
}

/// What has become of the latest question.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Position,
    /// The primary answers, but does not say how far it is.
    Refusal,
    /// There was none in time.
    Silence,
}

impl LagBound {
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, known: watch::Sender::default(), wanted: Notify::new() }
    }

    /// The bound itself.
    pub(crate) fn most(&self) -> Duration {
        self.most
    }

    /// How often the primary is asked, and for how long a standby that was near enough need not be asked again.
    pub(crate) fn pause(&self) -> Duration {
        (self.most / 4).min(LONGEST_PAUSE)
    }

    /// Waits until the primary has to be asked again.
    pub(crate) async fn paused(&self) {
        let _ = timeout(self.pause(), self.wanted.notified()).await;
    }

    /// Asks the primary how far it is.
    pub(crate) async fn ask_primary(&self, client: &Client) -> Result<(), Error> {
        // Before the question: all that was committed by then is in the answer.
        let asked = Instant::now();
        let mut answer = pin!(Position::of_primary(client));
        let answer = match timeout(self.near() - self.pause(), answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Now, because nothing known is of late any more.
                self.note_silence();
                answer.await
            }
        };
        match answer? {
            Some(position) => self.note(asked, position),
            None => self.note_refusal(),
        }
        Ok(())
    }

    /// Notes that the primary does not answer: until it does, its last known position counts.
    pub(crate) fn note_silence(&self) {
        self.known.send_modify(|known| known.latest = Answer::Silence);
    }

    /// Notes that the primary answers, but does not say how far it is: others may write to it.
    pub(crate) fn note_refusal(&self) {
        self.known.send_modify(|known| known.latest = Answer::Refusal);
    }

    /// Asks a server whether it is a standby that is near enough, or no standby.
    ///
    /// Waits for the next position of the primary where only that can tell.
    pub(crate) async fn allows(&self, client: &Client) -> Result<bool, Error> {
        let replayed = match Replayed::by(client).await? {
            None => return Ok(true),
            Some(None) => return Ok(false),
            Some(Some(replayed)) => replayed,
        };
        let answered = Instant::now();
        let is_open = |known: &Known| {
            let before = known.positions.back().filter(|(asked, _)| *asked < answered);
            let is_ahead = before.is_some_and(|(_, position)| replayed.is_ahead_of(*position));
            is_ahead && known.latest == Answer::Position
        };
        if is_open(&self.known.borrow()) {
            self.wanted.notify_one();
            // The sender is here.
            let _ = self.known.subscribe().wait_for(|known| !is_open(known)).await;
        }
        Ok(self.is_near(replayed, Instant::now()))
    }

    fn note(&self, asked: Instant, position: Position) {
        self.known.send_modify(|Known { positions, latest }| {
            *latest = Answer::Position;
            // Another server is the primary, and may lack what the former one had.
            if positions.back().is_some_and(|(_, former)| !position.follows(*former)) {
                positions.clear();
            }
            while positions.len() > 1 && positions[1].0 + self.most <= asked {
                positions.pop_front();
            }
            positions.push_back((asked, position));
        });
    }

    /// Whether a standby that has replayed so far stays near enough until it is asked again.
    ///
    /// While the primary does not answer, it is the last position known that counts. Where nobody has asked, as after the process was
    /// stopped for a time, or was refused the answer, none does.
    fn is_near(&self, replayed: Replayed, now: Instant) -> bool {
        let Known { positions, latest } = &*self.known.borrow();
        let of_late =
            positions.iter().find(|(asked, _)| now.saturating_duration_since(*asked) <= self.near());
        let last = positions.back();
        let least = of_late.or(last.filter(|_| *latest == Answer::Silence));
        least.zip(last).is_some_and(|((_, least), (_, last))| replayed.has(*least, *last))
    }

    /// How old a position may be that a standby has to have.
    fn near(&self) -> Duration {
        self.most - self.pause()
    }
}

impl fmt::Debug for LagBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LagBound").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lsn: u64) -> Position {
        Position { system: 7, timeline: 2, lsn }
    }

    fn replayed(lsn: u64) -> Replayed {
        Replayed { position: at(lsn), may_be_later: false }
    }

    #[test]
    fn a_standby_has_to_have_what_the_primary_had_of_late() {
        let bound = LagBound::new(Duration::from_secs(4));
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let is_near = |lsn, number| bound.is_near(replayed(lsn), second(number));
        assert!(!is_near(u64::MAX, 0), "nothing is known of the primary");
        for number in 0..10 {
            bound.note(second(number), at(100_000 + 100 * number));
        }
        // Three seconds before now are late enough: one more passes before it is asked again.
        assert!(is_near(100_600, 9) && !is_near(100_599, 9));
        assert!(bound.known.borrow().positions.len() < 7);
        // Nobody writes.
        bound.note(second(10), at(100_900));
        bound.note(second(20), at(100_900));
        assert!(is_near(100_900, 20) && !is_near(100_899, 20));
        // Nobody has asked.
        assert!(!is_near(u64::MAX, 99));
        // The primary is silent.
        bound.note_silence();
        assert!(is_near(100_900, 99) && !is_near(100_899, 99));
        // It answers, but not what it is asked.
        bound.note_refusal();
        assert!(!is_near(u64::MAX, 99));
        // Another primary, which has got less.
        bound.note(second(100), at(100_500));
        assert!(is_near(100_500, 100) && !is_near(u64::MAX, 199));
    }

    #[test]
    fn a_promotion_is_followed_or_ends_what_was_known() {
        let bound = LagBound::new(Duration::from_secs(4));
        let now = Instant::now();
        let is_near = |timeline, lsn| {
            let position = Position { timeline, ..at(lsn) };
            bound.is_near(Replayed { position, may_be_later: false }, now)
        };
        bound.note(now, at(100_000));
        assert!(is_near(2, 100_000) && is_near(3, 100_000));
        bound.note(now, Position { timeline: 3, ..at(100_400) });
        assert!(!is_near(2, u64::MAX) && !is_near(3, 100_000) && is_near(3, 100_400));
        // The former primary is back.
        bound.note(now, at(100_800));
        assert!(is_near(2, 100_800) && !is_near(2, 100_700));
    }

    /// On an idle server the next record may begin behind the header of a page, up to which nothing is ever replayed.
    #[test]
    fn the_header_of_a_page_is_nothing_to_replay() {
        let bound = LagBound::new(Duration::from_secs(4));
        let now = Instant::now();
        bound.note(now, at(8192 * 7 + 24));
        assert!(bound.is_near(replayed(8192 * 7), now) && !bound.is_near(replayed(8192 * 7 - 1), now));
    }
}
