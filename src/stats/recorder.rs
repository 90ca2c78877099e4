//! Where measurements go besides the counters: the metrics of the application, with the feature `metrics`.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::{EndReason, Event};

/// Takes measurements. Never called under a lock that requests share. The lock of a request's own connection may be held.
pub(crate) trait Recorder: Debug + Send + Sync {
    /// What takes the durations of the statements with this summary.
    fn operation(&self, summary: &str) -> Arc<dyn Operation>;
    fn count(&self, event: Event);
    fn ended(&self, reason: EndReason);
    /// A session was opened.
    fn created(&self, elapsed: Duration);
    /// A session was lent after this time.
    fn waited(&self, elapsed: Duration);
    /// A session was returned after this time.
    fn used(&self, elapsed: Duration);
    /// The pool at this moment.
    fn gauges(&self, gauges: Gauges);
}

/// Takes the durations of statements.
pub(crate) trait Operation: Debug + Send + Sync {
    fn succeeded(&self, elapsed: Duration);
    fn failed(&self, elapsed: Duration, code: Option<&str>, kind: &str);
}

/// The pool at one moment.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics read it"))]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) idle: u32,
    pub(crate) used: u32,
    pub(crate) max: u32,
    pub(crate) min: u32,
    pub(crate) pending: u32,
}
