//! Idle sessions, by the runtime that drives them: a borrower gets one that is driven where it runs, if there is any.
//!
//! bb8 counts sessions, keeps the floor and ends those that idle too long, but cannot be asked for a particular one. So
//! what lies in its queue are tokens. There are as many of them as there are sessions on the shelf: who takes a token
//! may take a session, and a token that bb8 lets go of takes a session with it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Handle, Id};

use super::session::Session;

/// The idle sessions of a pool.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Vec<Pile>>);

#[derive(Debug)]
struct Pile {
    runtime: Id,
    /// The one that was used last is on top.
    sessions: Vec<Box<Session>>,
}

impl Shelf {
    /// Puts a session down, and returns the token for it.
    pub(super) fn stock(self: &Arc<Self>, session: Box<Session>) -> Token {
        self.put(session);
        Token { shelf: Arc::clone(self), spent: false }
    }

    fn put(&self, session: Box<Session>) {
        let runtime = session.runtime();
        let mut piles = self.piles();
        match piles.iter_mut().find(|pile| pile.runtime == runtime) {
            Some(pile) => pile.sessions.push(session),
            None => piles.push(Pile { runtime, sessions: vec![session] }),
        }
    }

    /// The session of this runtime that was used last, or else the one that has idled longest on the highest pile.
    fn take(&self) -> Option<Box<Session>> {
        let mut piles = self.piles();
        if let Ok(here) = Handle::try_current()
            && let Some(pile) = piles.iter_mut().find(|pile| pile.runtime == here.id())
            && let Some(session) = pile.sessions.pop()
        {
            return Some(session);
        }
        let highest = piles.iter_mut().max_by_key(|pile| pile.sessions.len())?;
        let session = (!highest.sessions.is_empty()).then(|| highest.sessions.remove(0));
        // Runtimes come and go.
        piles.retain(|pile| !pile.sessions.is_empty());
        session
    }

    /// The session that has idled longest.
    fn evict(&self) -> Option<Box<Session>> {
        let mut piles = self.piles();
        let pile = piles
            .iter_mut()
            .filter(|pile| !pile.sessions.is_empty())
            .max_by_key(|pile| pile.sessions[0].idle_for())?;
        Some(pile.sessions.remove(0))
    }

    fn piles(&self) -> MutexGuard<'_, Vec<Pile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A right to one session of the shelf.
#[derive(Debug)]
pub(crate) struct Token {
    shelf: Arc<Shelf>,
    /// Its session has been taken, and has not come back.
    spent: bool,
}

impl Token {
    /// Takes a session; `None` if this token has been spent.
    pub(super) fn spend(&mut self) -> Option<Box<Session>> {
        match mem::replace(&mut self.spent, true) {
            true => None,
            false => self.shelf.take(),
        }
    }

    /// Puts a session back.
    pub(super) fn restore(&mut self, session: Box<Session>) {
        self.shelf.put(session);
        self.spent = false;
    }

    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.spent {
            drop(self.shelf.evict());
        }
    }
}
