//! The demo, and its dashboard in a real browser.
//!
//! Needs Chromium and its driver. Where they are missing, those tests say so and do nothing; with `CI=true` they fail.

mod support;
mod parameters;
mod every_button;
mod hostile_sql;
mod screenshots;
