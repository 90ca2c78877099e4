//! A statement that was refused for its session runs on another one.
//!
//! Behind a pooler in transaction mode, a session knows what the pooler keeps prepared for it since its login. When that changes, the next
//! text that it prepares is refused, and no statement has run. Sessions that are older than the change end so, one after the other; a
//! new one knows better.

use futures_util::future::BoxFuture;

use super::scope::Caller;
use super::sealed::Executor;
use crate::lease::{Params, SessionUse};
use crate::row::Plan;
use crate::{Error, Result};

/// Runs a statement on a session.
pub(super) type Run<T> =
    for<'a> fn(SessionUse, &'a str, Params<'a>, Option<&'a mut Plan>) -> BoxFuture<'a, Result<T>>;

/// Runs a statement, again where it was refused for its session, and at the latest on a new one. Not where the session is needed for
/// something else.
pub(super) async fn repeated<C: Executor + ?Sized, T>(
    client: &C,
    caller: Caller,
    mut session_use: SessionUse,
    sql: &str,
    params: Params<'_>,
    mut plan: Option<&mut Plan>,
    run: Run<T>,
) -> Result<T> {
    loop {
        let is_new = session_use.session().is_new();
        let ran = run(session_use, sql, params, plan.as_deref_mut()).await;
        let again = matches!(&ran, Err(Error::Postgres(err)) if err.is_of_session());
        if !again || is_new || !client.give_back() {
            return ran;
        }
        session_use = client.enter(caller).await?.0;
    }
}
