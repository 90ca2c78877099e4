//! The name of a pool in the metrics.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A name that no other pool of the process has. Its drop frees the name.
///
/// Two pools of one database would set the same gauges in turn, and each would seem to have the sessions of the other.
#[derive(Debug)]
pub(super) struct PoolName(String);

impl PoolName {
    /// Takes the name, with `#2` and so on behind it where another pool has it.
    pub(super) fn take(wanted: &str) -> Self {
        let mut taken = taken();
        let others = (2_u64..).map(|number| format!("{wanted}#{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(others);
        let name = names.find(|name| taken.insert(name.clone()));
        Self(name.expect("there is no end of numbers"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for PoolName {
    fn drop(&mut self) {
        taken().remove(&self.0);
    }
}

fn taken() -> MutexGuard<'static, BTreeSet<String>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pools_have_one_name() {
        let names = [PoolName::take("db/shop"), PoolName::take("db/shop"), PoolName::take("db/shop")];
        assert_eq!(names.each_ref().map(PoolName::as_str), ["db/shop", "db/shop#2", "db/shop#3"]);
        let [first, second, _third] = names;
        drop(second);
        assert_eq!(PoolName::take("db/shop").as_str(), "db/shop#2");
        drop(first);
        assert_eq!(PoolName::take("db/shop").as_str(), "db/shop");
    }
}
