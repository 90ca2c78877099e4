//! The state machine against a model that keeps everything, over random courses of a queue.

use proptest::prelude::*;

use super::*;

const TARGET: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_millis(1000);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A queue under test, on a clock of its own.
struct Queue {
    shedding: Shedding,
    now: Instant,
}

impl Queue {
    fn new() -> Self {
        let now = Instant::now();
        Self { shedding: Shedding::new(TARGET, INTERVAL, now), now }
    }

    fn counted(&self) -> Counted {
        self.shedding.now(self.now)
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
    }

    /// Serves one who has waited for so long.
    fn serves(&mut self, waited: Duration) {
        let now = self.counted();
        self.shedding.served(Counted(now.0.saturating_sub(waited)), now);
    }

    /// Whether one who has waited for so long is refused.
    fn refuses(&mut self, waited: Duration) -> bool {
        let now = self.counted();
        let since = Counted(now.0.saturating_sub(waited));
        self.shedding.refused_before(Some(since), now).is_some_and(|before| since < before)
    }
}

#[test]
fn a_queue_that_does_not_get_empty_is_shed() {
    let mut queue = Queue::new();
    queue.passes(ms(2000));
    for _ in 0..10 {
        queue.serves(ms(60));
        assert!(!queue.refuses(ms(101)), "not before an interval has ended");
        queue.passes(ms(100));
    }
    queue.serves(ms(60));
    assert!(queue.refuses(ms(101)));
    assert!(!queue.refuses(ms(100)), "not more than twice the target");
    // One who waits for less than the target ends it with the interval.
    queue.serves(ms(40));
    assert!(queue.refuses(ms(101)));
    queue.passes(ms(1000));
    queue.serves(ms(60));
    assert!(!queue.refuses(ms(101)));
}

#[test]
fn where_nobody_is_served_a_wait_of_a_whole_interval_counts() {
    let mut queue = Queue::new();
    queue.passes(ms(2000));
    assert!(queue.refuses(ms(1000)), "a whole interval without a session");
    let mut queue = Queue::new();
    queue.passes(ms(2000));
    assert!(!queue.refuses(ms(999)), "somebody came after a time in which nobody waited");
}

#[test]
fn an_old_overload_says_nothing_of_the_next_burst() {
    let mut queue = Queue::new();
    queue.passes(ms(1000));
    queue.serves(ms(500));
    queue.passes(ms(60_000));
    queue.serves(ms(1));
    queue.passes(ms(200));
    assert!(!queue.refuses(ms(200)));
}

#[test]
fn time_in_which_sessions_are_opened_does_not_count() {
    let mut queue = Queue::new();
    let came = queue.counted();
    queue.shedding.opening(true, queue.now);
    queue.passes(ms(5000));
    assert_eq!(queue.counted(), came);
    queue.shedding.opening(false, queue.now);
    queue.passes(ms(30));
    let now = queue.counted();
    queue.shedding.served(came, now);
    assert_eq!(queue.shedding.least, Some(ms(30)));
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Serve(u64),
    ServeAtOnce,
    Look(u64),
    Open(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..400u64).prop_map(Step::Pass),
        6 => (0..200u64).prop_map(Step::Serve),
        1 => Just(Step::ServeAtOnce),
        4 => (0..1500u64).prop_map(Step::Look),
        1 => any::<bool>().prop_map(Step::Open),
    ];
    prop::collection::vec(step, 1..200)
}

/// Keeps every wait, and the intervals as they ended.
#[derive(Default)]
struct Model {
    time: u64,
    opening: bool,
    ends: u64,
    waits: Vec<u64>,
    sheds: bool,
}

impl Model {
    fn interval(&mut self, waited: u64) {
        if self.time < self.ends {
            return;
        }
        let age = self.time - self.ends;
        let mut waits = std::mem::take(&mut self.waits);
        if age >= 1000 && !waits.contains(&0) {
            waits.clear();
        }
        let all_the_time = if waited >= 1000 { waited } else { 0 };
        self.sheds = *waits.iter().min().unwrap_or(&all_the_time) > 50;
        self.ends = self.time + 1000;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// P30: it does what the model does, and never refuses one who has waited for at most twice the target, nor anybody after an
    /// interval in which somebody was served in time.
    #[test]
    fn it_sheds_as_the_model_does(steps in steps()) {
        let mut queue = Queue::new();
        let mut model = Model { ends: 1000, ..Model::default() };
        for step in steps {
            match step {
                Step::Pass(time) => {
                    queue.passes(ms(time));
                    model.time += if model.opening { 0 } else { time };
                }
                Step::Serve(waited) => {
                    let waited = waited.min(model.time);
                    queue.serves(ms(waited));
                    model.interval(waited);
                    model.waits.push(waited);
                }
                Step::ServeAtOnce => {
                    queue.shedding.served_at_once();
                    model.waits.push(0);
                }
                Step::Look(waited) => {
                    let waited = waited.min(model.time);
                    let refused = queue.refuses(ms(waited));
                    model.interval(waited);
                    prop_assert_eq!(refused, model.sheds && waited > 100);
                }
                Step::Open(opening) => {
                    queue.shedding.opening(opening, queue.now);
                    model.opening = opening;
                }
            }
            prop_assert_eq!(queue.counted(), Counted(ms(model.time)));
            prop_assert_eq!(queue.shedding.sheds, model.sheds);
        }
    }
}
