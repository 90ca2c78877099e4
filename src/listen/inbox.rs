//! What one stream has not read yet.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::event::Event;

/// The most events that are kept for a reader. Of more, the oldest are dropped, and counted.
pub(super) const CAPACITY: usize = 1_024;

/// The events that a stream has not read yet. Never waits for the reader.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Unread>);

#[derive(Debug, Default)]
struct Unread {
    /// Notifications that were dropped, all older than the events.
    missed: u64,
    /// An [`Event::Reconnected`] was dropped with them.
    reconnected: bool,
    events: VecDeque<Event>,
    ended: bool,
    reader: Option<Waker>,
}

impl Inbox {
    /// Keeps an event, and returns whom to wake.
    #[must_use = "the reader has to be woken"]
    pub(super) fn push(&self, event: Event) -> Option<Waker> {
        let mut unread = self.unread();
        if unread.ended {
            return None;
        }
        let is_known =
            matches!((unread.events.back(), &event), (Some(Event::Reconnected), Event::Reconnected));
        if !is_known {
            if unread.events.len() == CAPACITY {
                match unread.events.pop_front() {
                    Some(Event::Reconnected) => unread.reconnected = true,
                    _ => unread.missed += 1,
                }
            }
            unread.events.push_back(event);
        }
        unread.reader.take()
    }

    /// Ends the stream behind the events that are kept, and returns whom to wake.
    #[must_use = "the reader has to be woken"]
    pub(super) fn end(&self) -> Option<Waker> {
        let mut unread = self.unread();
        unread.ended = true;
        unread.reader.take()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut unread = self.unread();
        if unread.missed > 0 {
            return Poll::Ready(Some(Event::Missed(mem::take(&mut unread.missed))));
        }
        if mem::take(&mut unread.reconnected) {
            return Poll::Ready(Some(Event::Reconnected));
        }
        match unread.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if unread.ended => Poll::Ready(None),
            None => {
                unread.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read now, in a form that can be compared.
    fn read(inbox: &Inbox) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = Vec::new();
        while let Poll::Ready(Some(event)) = inbox.poll(&mut cx) {
            read.push(format!("{event:?}"));
        }
        read
    }

    #[test]
    fn of_too_many_the_oldest_are_dropped_and_counted() {
        let inbox = Inbox::default();
        let _ = inbox.push(Event::Reconnected);
        let _ = inbox.push(Event::Reconnected);
        // An event that can be told from the others, in the place of a notification.
        for number in 0..CAPACITY as u64 + 6 {
            let _ = inbox.push(Event::Missed(number));
        }
        let told = read(&inbox);
        assert_eq!(told.len(), CAPACITY + 2);
        assert_eq!(told[..3], ["Missed(6)", "Reconnected", "Missed(6)"]);
        assert_eq!(told.last().map(String::as_str), Some("Missed(1029)"));
    }

    #[test]
    fn after_its_end_nothing_is_kept() {
        let inbox = Inbox::default();
        let _ = inbox.push(Event::Reconnected);
        let _ = inbox.end();
        let _ = inbox.push(Event::Missed(1));
        assert_eq!(read(&inbox), ["Reconnected"]);
        assert!(matches!(inbox.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(None)));
    }
}
