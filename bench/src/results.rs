//! What was measured; `--json` writes it as it stands here.

use serde::Serialize;

use crate::app::SESSIONS;
use crate::args::Args;
use crate::load_results::LoadResults;
use crate::machine::Machine;
use crate::targets::{self, Target};

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) loads: Vec<LoadResults>,
    pub(crate) targets: Vec<Target>,
}

impl Results {
    pub(crate) fn new(
        machine: Machine,
        args: &Args,
        pinned: Option<String>,
        loads: Vec<LoadResults>,
    ) -> Self {
        Self {
            machine,
            settings: Settings {
                command: args.command.clone(),
                sessions: SESSIONS,
                rounds: args.rounds,
                seconds: args.duration.as_secs_f64(),
                warm_up_seconds: args.warm_up.as_secs_f64(),
                pinned,
            },
            targets: targets::of(&loads),
            loads,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) command: String,
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
    /// Which processors were whose, if they were divided.
    pub(crate) pinned: Option<String>,
}
