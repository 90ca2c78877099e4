//! Faults of the libraries underneath that this crate works around, each shown by that library alone.
//!
//! A test here fails when the fault is gone, with a new version of the library: then its work-around can be removed, and the
//! test with it.

mod of_bb8;
mod of_tokio_postgres;

/// Fails when the fault is gone, and names what works around it.
macro_rules! assert_still_there {
    ($fault:expr, $work_around:literal) => {
        assert!($fault, "the fault is gone; this work-around can be removed now: {}", $work_around)
    };
}
use assert_still_there;
