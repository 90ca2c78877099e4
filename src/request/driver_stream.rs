//! An answer of the server that is read, or written, piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::lease::SessionUse;
use crate::tokio_postgres::{self, Column};
use crate::{Error, Result};

/// A stream or sink of the driver's, together with the use of the session that it needs.
pub(super) struct DriverStream<S> {
    driven: Pin<Box<S>>,
    /// `None` after the last answer: the session is free for other statements.
    session_use: Option<SessionUse>,
    rows: u64,
}

impl<S> DriverStream<S> {
    pub(super) fn new((session_use, driven): (SessionUse, S)) -> Self {
        Self { driven: Box::pin(driven), session_use: Some(session_use), rows: 0 }
    }

    pub(super) fn driven(&self) -> &S {
        &self.driven
    }

    pub(super) fn driven_mut(&mut self) -> Pin<&mut S> {
        self.driven.as_mut()
    }

    /// Whether the last answer has not been read.
    pub(super) fn is_open(&self) -> bool {
        self.session_use.is_some()
    }

    /// Records the last answer: the session is free.
    pub(super) fn ended<T>(&mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T> {
        self.ended_with(answer, Some(self.rows))
    }

    /// The same, with this number of rows.
    pub(super) fn ended_with<T>(
        &mut self,
        answer: Result<T, tokio_postgres::Error>,
        rows: Option<u64>,
    ) -> Result<T> {
        let answer = answer.map_err(Error::from);
        let Some(mut session_use) = self.session_use.take() else {
            return answer;
        };
        let answer = session_use.answered(answer).map_err(|err| session_use.failed(err));
        session_use.succeeded(rows);
        answer
    }

    /// Records that it has failed: nobody else may send before the session is known to be in step.
    pub(super) fn failed(&mut self, err: tokio_postgres::Error) -> Error {
        let err = Error::from(err);
        match self.session_use.take() {
            Some(mut session_use) => {
                let err = session_use.doubted(err);
                session_use.failed(err)
            }
            None => err,
        }
    }

    /// Says which statement it was that an error of its reader's is about.
    pub(super) fn of_statement(&self, err: Error) -> Error {
        match &self.session_use {
            Some(session_use) => session_use.of_statement(err),
            None => err,
        }
    }

    /// Looks at the columns of the first row.
    pub(super) fn see_columns(&self, columns: &[Column]) {
        if let Some(session_use) = &self.session_use {
            session_use.see_columns(columns);
        }
    }

    pub(super) fn poll_next<T>(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>>
    where
        S: Stream<Item = Result<T, tokio_postgres::Error>>,
    {
        if !self.is_open() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.driven.as_mut().poll_next(cx)) {
            Some(Ok(item)) => {
                self.rows += 1;
                Some(Ok(item))
            }
            Some(Err(err)) => Some(self.ended(Err(err))),
            None => self.ended(Ok(None)).transpose(),
        })
    }
}

impl<S> std::fmt::Debug for DriverStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverStream").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
