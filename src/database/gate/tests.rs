//! The gate without a pool behind it: a number stands for what is handed on.

use std::collections::HashMap;
use std::task::Waker;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// Three runtimes, for their ids.
fn runtimes() -> Vec<Runtime> {
    (0..3).map(|_| Builder::new_current_thread().build().unwrap()).collect()
}

fn poll<T>(ticket: &mut Ticket<T>) -> Option<Option<Grant<T>>> {
    match ticket.poll_unpin(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(grant) => Some(grant),
        Poll::Pending => None,
    }
}

fn wait<T>(gate: &Arc<Gate<T>>, runtime: Id) -> Ticket<T> {
    match gate.enter(Some(runtime), None) {
        Entry::Wait(ticket) => ticket,
        _ => panic!("the gate should be full"),
    }
}

/// P11.
#[test]
fn a_permit_goes_to_who_came_first() {
    let runtimes = runtimes();
    let gate = Gate::<()>::new(1);
    let permit = gate.try_enter().unwrap();
    let mut first = wait(&gate, runtimes[0].handle().id());
    let mut second = wait(&gate, runtimes[1].handle().id());
    drop(permit);
    let Some(Some(Grant::Permit(permit))) = poll(&mut first) else { panic!("the first was not called") };
    assert!(poll(&mut second).is_none());
    drop(permit);
    assert!(matches!(poll(&mut second), Some(Some(Grant::Permit(_)))));
}

/// P11.
#[test]
fn what_is_handed_over_stays_on_its_runtime_but_passes_nobody_over_for_ever() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let gate = Gate::<u32>::new(0);
    let mut elsewhere = wait(&gate, there);
    for turn in 0..PATIENCE {
        let mut own = wait(&gate, here);
        gate.hand_over(here, turn).unwrap();
        assert!(matches!(poll(&mut own), Some(Some(Grant::Handed(handed))) if handed == turn));
    }
    let mut own = wait(&gate, here);
    gate.hand_over(here, 99).unwrap();
    assert!(poll(&mut own).is_none());
    assert!(matches!(poll(&mut elsewhere), Some(Some(Grant::Handed(99)))));
}

/// P11: a waiter that gives up costs nobody anything, even if it had been called.
#[test]
fn one_who_gives_up_after_the_call_passes_it_on() {
    let runtimes = runtimes();
    let gate = Gate::<()>::new(1);
    let permit = gate.try_enter().unwrap();
    let first = wait(&gate, runtimes[0].handle().id());
    let mut second = wait(&gate, runtimes[0].handle().id());
    drop(permit);
    drop(first);
    assert!(matches!(poll(&mut second), Some(Some(Grant::Permit(_)))));
    drop(second);
    assert_eq!((gate.free(), gate.waiting()), (1, 0));
}

#[test]
fn a_full_queue_and_a_closed_gate_send_away() {
    let gate = Gate::<()>::new(1);
    let permit = gate.try_enter().unwrap();
    let mut waiting = match gate.enter(None, Some(1)) {
        Entry::Wait(ticket) => ticket,
        _ => panic!("there was room in the queue"),
    };
    assert!(matches!(gate.enter(None, Some(1)), Entry::Full));
    gate.close();
    assert!(matches!(poll(&mut waiting), Some(None)));
    assert!(matches!(gate.enter(None, None), Entry::Closed));
    drop(permit);
    assert!(gate.try_enter().is_none());
    assert_eq!(gate.free(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    GiveUp(usize),
    Release(usize),
    HandOver(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3usize).prop_map(Step::Enter),
        1 => (0..64usize).prop_map(Step::GiveUp),
        2 => (0..64usize).prop_map(Step::Release),
        3 => (0..64usize).prop_map(Step::HandOver),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// P10, P11: whatever happens in whatever order, no permit is lost or made, nobody waits while one is free, the borrowers
    /// of one runtime are served in order, and nobody is passed over more than `PATIENCE` times.
    #[test]
    fn no_permit_is_lost_and_nobody_starves(steps in steps()) {
        const PERMITS: u32 = 3;
        let runtimes = runtimes();
        let id = |runtime: usize| runtimes[runtime].handle().id();
        // What a holder has: the permit itself, travelling with what is handed over.
        struct Held(usize, Permit<Box<Held>>);
        let gate = Gate::<Box<Held>>::new(PERMITS);
        let mut held: Vec<Box<Held>> = Vec::new();
        let mut waiting: Vec<(usize, usize, Ticket<Box<Held>>)> = Vec::new();
        let mut passed_over: HashMap<usize, u32> = HashMap::new();
        for (arrival, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(runtime) => match gate.enter(Some(id(runtime)), None) {
                    Entry::Permit(permit) => held.push(Box::new(Held(runtime, permit))),
                    Entry::Wait(ticket) => waiting.push((arrival, runtime, ticket)),
                    Entry::Full | Entry::Closed => prop_assert!(false, "neither full nor closed"),
                },
                Step::GiveUp(which) if !waiting.is_empty() => {
                    let at = which % waiting.len();
                    drop(waiting.remove(at));
                }
                Step::Release(which) if !held.is_empty() => {
                    let at = which % held.len();
                    drop(held.swap_remove(at));
                }
                Step::HandOver(which) if !held.is_empty() => {
                    let at = which % held.len();
                    let handed = held.swap_remove(at);
                    if let Err(back) = gate.hand_over(id(handed.0), handed) {
                        prop_assert!(waiting.is_empty());
                        drop(back);
                    }
                }
                _ => {}
            }
            let mut still: Vec<(usize, usize, Ticket<Box<Held>>)> = Vec::new();
            for (arrival, runtime, mut ticket) in waiting {
                let grant = match poll(&mut ticket) {
                    None => {
                        still.push((arrival, runtime, ticket));
                        continue;
                    }
                    Some(grant) => grant.expect("an open gate"),
                };
                for (earlier, of, _) in &still {
                    prop_assert!(*of != runtime, "{arrival} overtook {earlier} on its own runtime");
                    let times = passed_over.entry(*earlier).or_default();
                    *times += 1;
                    prop_assert!(*times <= PATIENCE, "{earlier} was passed over {times} times");
                }
                held.push(match grant {
                    Grant::Permit(permit) => Box::new(Held(runtime, permit)),
                    Grant::Handed(handed) => Box::new(Held(runtime, handed.1)),
                });
            }
            waiting = still;
            prop_assert_eq!(held.len() as u32 + gate.free(), PERMITS);
            prop_assert_eq!(gate.waiting() as usize, waiting.len());
            prop_assert!(gate.free() == 0 || waiting.is_empty());
        }
    }
}
