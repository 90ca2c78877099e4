//! Statements that have been sent and have not been answered.

use std::collections::VecDeque;
use std::fmt;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use actix_web::web::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::deadline::{Bound, bounded};
use crate::Error;
use crate::session::Types;
use crate::tokio_postgres::types::{BorrowToSql, Format, IsNull, ToSql, Type};
use crate::tokio_postgres::{self, Client, Statement};

/// The most statements that are unanswered at a time.
const MOST: usize = 256;

/// No statement is sent while more bytes of parameters than that are unanswered.
const MOST_BYTES: usize = 256 * 1024;

/// Statements of a batch that are on their way. They are answered in the order in which they were sent.
pub(super) struct Pipeline<'a, C> {
    client: &'a Client,
    bound: Option<Bound>,
    unanswered: VecDeque<Unanswered<'a>>,
    /// The bytes of their parameters.
    bytes: usize,
    /// How many have been answered: the index of the oldest that is not.
    answered: usize,
    /// The index of the commit, if it has been sent.
    commit: Option<usize>,
    /// Takes the number of rows that a statement has affected.
    count: C,
    /// The bytes of the parameters that are being written.
    written: &'a AtomicUsize,
}

struct Unanswered<'a> {
    answer: BoxFuture<'a, Result<u64, tokio_postgres::Error>>,
    /// None is the commit.
    sql: Option<&'a str>,
    bytes: usize,
}

/// The statement of a batch that failed, or its commit.
#[derive(Debug)]
pub(super) struct Failed<'a> {
    pub(super) index: usize,
    pub(super) sql: Option<&'a str>,
    pub(super) error: Error,
}

impl<'a, C: FnMut(u64)> Pipeline<'a, C> {
    /// `bound` is the longest wait for an answer, `written` a counter for its use.
    pub(super) fn new(client: &'a Client, written: &'a AtomicUsize, bound: Option<Bound>, count: C) -> Self {
        Self {
            client,
            bound,
            unanswered: VecDeque::new(),
            bytes: 0,
            answered: 0,
            commit: None,
            count,
            written,
        }
    }

    /// The index of the commit, if it has been sent.
    pub(super) fn commit(&self) -> Option<usize> {
        self.commit
    }

    /// Whether nothing has been sent.
    pub(super) fn is_untouched(&self) -> bool {
        self.answered == 0 && self.unanswered.is_empty()
    }

    /// The statement that would have been sent next has failed.
    pub(super) fn failed(&self, sql: Option<&'a str>, error: Error) -> Failed<'a> {
        let index = self.answered + self.unanswered.len();
        let error = match error {
            Error::TimedOut { bound, .. } if index > 0 => Error::TimedOut { bound, sent: true },
            error => error,
        };
        Failed { index, sql, error }
    }

    /// Sends a statement. Fails if that cannot be done, as with parameters that do not fit.
    pub(super) async fn send<P, R>(
        &mut self,
        sql: &'a str,
        statement: &Statement,
        row: R,
    ) -> Result<(), Failed<'a>>
    where
        P: BorrowToSql + Sync,
        R: AsRef<[P]> + Send + Sync + 'a,
    {
        let (client, written, statement) = (self.client, self.written, statement.clone());
        let answer = async move {
            let params = row.as_ref().iter().map(|value| Written { value, bytes: written });
            client.execute_raw(&statement, params).await
        };
        self.push(Some(sql), answer.boxed()).await
    }

    /// Sends a statement without a name, of these types. Fails as [`send`](Self::send) does.
    pub(super) async fn send_unnamed<P, R>(
        &mut self,
        sql: &'a str,
        types: Arc<Types>,
        row: R,
    ) -> Result<(), Failed<'a>>
    where
        P: BorrowToSql + Sync,
        R: AsRef<[P]> + Send + Sync + 'a,
    {
        let (client, written) = (self.client, self.written);
        let answer = async move {
            let values =
                row.as_ref().iter().map(|value| Written { value, bytes: written }).collect::<Vec<_>>();
            let typed = values.iter().zip(types.params());
            let typed =
                typed.map(|(value, of)| (value as &(dyn ToSql + Sync), of.clone())).collect::<Vec<_>>();
            client.execute_typed(sql, &typed).await
        };
        self.push(Some(sql), answer.boxed()).await
    }

    /// Sends what commits the statements that have been sent, in one message.
    pub(super) async fn send_commit(&mut self, commit: String) -> Result<(), Failed<'a>> {
        self.commit = Some(self.answered + self.unanswered.len());
        let client = self.client;
        let answer = async move { client.batch_execute(&commit).await.map(|()| 0) };
        self.push(None, answer.boxed()).await
    }

    /// The driver sends at the first poll.
    async fn push(
        &mut self,
        sql: Option<&'a str>,
        mut answer: BoxFuture<'a, Result<u64, tokio_postgres::Error>>,
    ) -> Result<(), Failed<'a>> {
        self.written.store(0, Ordering::Relaxed);
        let answer = match poll_fn(|cx| Poll::Ready(answer.poll_unpin(cx))).await {
            Poll::Pending => answer,
            Poll::Ready(Ok(rows)) => ready(Ok(rows)).boxed(),
            Poll::Ready(Err(err)) => return Err(self.failed(sql, err.into())),
        };
        let bytes = self.written.load(Ordering::Relaxed);
        self.bytes += bytes;
        self.unanswered.push_back(Unanswered { answer, sql, bytes });
        Ok(())
    }

    /// Waits until there is room for more. The half of it is waited for, so that many are sent at a time.
    pub(super) async fn room(&mut self) -> Result<(), Failed<'a>> {
        if self.unanswered.len() < MOST && self.bytes <= MOST_BYTES {
            return Ok(());
        }
        while self.unanswered.len() > MOST / 2 || self.bytes > MOST_BYTES / 2 {
            self.answers().await?;
        }
        Ok(())
    }

    /// Waits until all are answered.
    pub(super) async fn all(&mut self) -> Result<(), Failed<'a>> {
        while !self.unanswered.is_empty() {
            self.answers().await?;
        }
        Ok(())
    }

    /// Reads the answers that are left after a failure, and keeps the failure of the first statement. `false` says that not all
    /// of them have come in time.
    pub(super) async fn read_on(&mut self, failed: &mut Failed<'a>) -> bool {
        loop {
            if is_late(&failed.error) {
                return false;
            }
            if failed.error.is_out_of_step() {
                return true;
            }
            match self.all().await {
                Ok(()) => return true,
                Err(other) if other.index < failed.index || other.error.is_out_of_step() => *failed = other,
                Err(other) if is_late(&other.error) => return false,
                Err(_) => {}
            }
        }
    }

    /// Waits for an answer, and takes those that have come.
    async fn answers(&mut self) -> Result<(), Failed<'a>> {
        let taken = bounded(self.bound, async || poll_fn(|cx| self.poll_answers(cx).map(Ok)).await).await;
        taken.unwrap_or_else(|late| {
            let sql = self.unanswered.front().and_then(|oldest| oldest.sql);
            let error = self.bound.map_or(late, |bound| bound.error(true));
            Err(Failed { index: self.answered, sql, error })
        })
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed<'a>>> {
        let before = self.answered;
        while let Some(oldest) = self.unanswered.front_mut() {
            let Poll::Ready(answer) = oldest.answer.poll_unpin(cx) else {
                return if self.answered > before { Poll::Ready(Ok(())) } else { Poll::Pending };
            };
            let (index, sql) = (self.answered, oldest.sql);
            self.bytes -= oldest.bytes;
            self.unanswered.pop_front();
            self.answered += 1;
            match answer {
                Ok(rows) if sql.is_some() => (self.count)(rows),
                Ok(_) => {}
                Err(err) => return Poll::Ready(Err(Failed { index, sql, error: err.into() })),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn is_late(err: &Error) -> bool {
    matches!(err, Error::CommandTimeout(_) | Error::TimedOut { .. })
}

/// A parameter that counts the bytes it is written with.
struct Written<'a, P> {
    value: &'a P,
    bytes: &'a AtomicUsize,
}

impl<P: BorrowToSql> fmt::Debug for Written<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.value.borrow_to_sql(), f)
    }
}

impl<P: BorrowToSql> ToSql for Written<'_, P> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Wrote {
        self.to_sql_checked(ty, out)
    }

    /// Whether the value fits is asked when it is written.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Wrote {
        let before = out.len();
        let wrote = self.value.borrow_to_sql().to_sql_checked(ty, out);
        self.bytes.fetch_add(out.len().saturating_sub(before), Ordering::Relaxed);
        wrote
    }

    fn encode_format(&self, ty: &Type) -> Format {
        self.value.borrow_to_sql().encode_format(ty)
    }
}

type Wrote = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;
