//! The log of the whole process, kept for those who look for a line of theirs.

use std::sync::{Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl Log for Keep {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let line = format!("{} {} {} [{thread}]", record.level(), record.target(), record.args());
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// Keeps what is logged from now on, by anybody.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keep).expect("no other logger");
        log::set_max_level(LevelFilter::Debug);
    });
}

/// The lines with all of these parts; tests run side by side, so one part should be a test's own.
pub fn lines_with(parts: &[&str]) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
}

/// The lines that this crate wrote, with all of these parts.
pub fn ours_with(parts: &[&str]) -> Vec<String> {
    lines_with(parts).into_iter().filter(|line| line.contains(" actix_pg::")).collect()
}
