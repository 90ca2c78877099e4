//! The gate without a pool behind it: a number stands for what is handed on.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::lanes::{LEAD, PATIENCE};
use super::*;

/// Three runtimes, for their ids.
fn runtimes() -> Vec<Runtime> {
    (0..3).map(|_| Builder::new_current_thread().build().unwrap()).collect()
}

/// All come at the same time, unless a test is about that.
fn now() -> Instant {
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    *NOW
}

fn poll<S>(ticket: &mut Ticket<S>) -> Option<Option<Pass<S>>> {
    match ticket.poll_unpin(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(pass) => Some(pass),
        Poll::Pending => None,
    }
}

fn wait<S>(gate: &Arc<Gate<S>>, runtime: Id) -> Ticket<S> {
    match gate.enter(Some(runtime), None, now()) {
        Entry::Wait(ticket) => ticket,
        _ => panic!("the gate should be full"),
    }
}

/// The session of one who has been called.
fn called<S>(ticket: &mut Ticket<S>) -> Option<S> {
    let Pass { session, permit } = poll(ticket)??;
    mem::forget(permit);
    session
}

/// P11.
#[test]
fn a_permit_goes_to_who_came_first() {
    let runtimes = runtimes();
    let gate = Gate::<()>::new(1);
    let pass = gate.try_enter(None).unwrap();
    let mut first = wait(&gate, runtimes[0].handle().id());
    let mut second = wait(&gate, runtimes[1].handle().id());
    drop(pass);
    let Some(Some(pass)) = poll(&mut first) else { panic!("the first was not called") };
    assert!(poll(&mut second).is_none());
    drop(pass);
    assert!(matches!(poll(&mut second), Some(Some(Pass { session: None, .. }))));
}

/// P11.
#[test]
fn a_session_stays_on_its_runtime_but_passes_nobody_over_for_ever() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let gate = Gate::<u64>::new(1);
    let mut pass = gate.try_enter(Some(here)).unwrap();
    let mut elsewhere = wait(&gate, there);
    for turn in 1..PATIENCE {
        let mut own = wait(&gate, here);
        pass.permit.rest(here, turn);
        pass = poll(&mut own).unwrap().unwrap();
        assert_eq!(pass.session, Some(turn));
    }
    let mut own = wait(&gate, here);
    pass.permit.rest(here, 99);
    assert!(poll(&mut own).is_none());
    assert_eq!(called(&mut elsewhere), Some(99));
}

/// P11.
#[test]
fn a_session_leaves_its_runtime_for_one_who_came_long_before() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    for (later, stays) in [(LEAD - Duration::from_nanos(1), true), (LEAD, false)] {
        let gate = Gate::<u32>::new(1);
        let pass = gate.try_enter(Some(here)).unwrap();
        let mut elsewhere = wait(&gate, there);
        let Entry::Wait(mut own) = gate.enter(Some(here), None, now() + later) else {
            panic!("the gate is full")
        };
        pass.permit.rest(here, 7);
        assert_eq!((poll(&mut own).is_some(), poll(&mut elsewhere).is_some()), (stays, !stays));
    }
}

/// P12, P13: what rests is borrowed where it is driven, and elsewhere only when there is no other.
#[test]
fn a_session_that_rests_is_borrowed_by_its_own_runtime_first() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let gate = Gate::<u32>::new(3);
    let passes: Vec<_> = (0..3).map(|_| gate.try_enter(None).unwrap()).collect();
    for (at, pass) in (1..).zip(passes) {
        pass.permit.rest(if at == 3 { there } else { here }, at);
    }
    assert_eq!((gate.free(), gate.resting()), (3, 3));
    let next = |runtime| {
        let Pass { session, permit } = gate.try_enter(Some(runtime)).unwrap();
        mem::forget(permit);
        session
    };
    // The one used last; then the only one there; then the one that has rested longest elsewhere.
    assert_eq!([next(here), next(there), next(there)], [Some(2), Some(3), Some(1)]);
    assert!(gate.try_enter(Some(here)).is_none());
}

/// P13: who has a permit and no session gets one that rests, or the next that comes back.
#[test]
fn nothing_rests_while_somebody_is_hungry() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::<Arc<()>>::new(3);
    let session = Arc::new(());
    let [first, second, third] = [0; 3].map(|_| gate.try_enter(Some(here)).unwrap());
    first.permit.rest(here, Arc::clone(&session));
    let traded = second.permit.trade().unwrap();
    assert_eq!((traded.session.as_ref(), gate.free(), gate.resting()), (Some(&session), 1, 0));
    let hungry = third.permit.trade().unwrap_err();
    traded.permit.rest(here, Arc::clone(&session));
    drop(traded.session);
    // It was dropped, and so has gone back to the pool.
    assert_eq!((Arc::strong_count(&session), gate.free(), gate.resting()), (1, 2, 0));
    hungry.fed().rest(here, Arc::clone(&session));
    assert_eq!((gate.free(), gate.resting()), (3, 1));
    drop(gate.try_enter(None).unwrap().permit.trade());
    assert_eq!(gate.free(), 3);
}

/// P16: what has rested for long goes back to the pool.
#[test]
fn what_has_rested_is_taken_out() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::<u32>::new(2);
    let [first, second] = [0; 2].map(|_| gate.try_enter(Some(here)).unwrap());
    first.permit.rest(here, 1);
    second.permit.rest(here, 2);
    let rested = gate.rested(|session| *session == 1);
    assert_eq!(rested.iter().map(|pass| pass.session).collect::<Vec<_>>(), [Some(1)]);
    assert_eq!((gate.free(), gate.resting()), (1, 1));
    drop(rested);
    assert_eq!((gate.free(), gate.resting()), (2, 1));
}

/// P11: a waiter that gives up costs nobody anything, even if it had been called.
#[test]
fn one_who_gives_up_after_the_call_passes_it_on() {
    let runtimes = runtimes();
    let gate = Gate::<()>::new(1);
    let pass = gate.try_enter(None).unwrap();
    let first = wait(&gate, runtimes[0].handle().id());
    let mut second = wait(&gate, runtimes[0].handle().id());
    drop(pass);
    drop(first);
    assert!(matches!(poll(&mut second), Some(Some(_))));
    drop(second);
    assert_eq!((gate.free(), gate.waiting()), (1, 0));
}

#[test]
fn a_full_queue_and_a_closed_gate_send_away() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::<u32>::new(1);
    let pass = gate.try_enter(None).unwrap();
    let mut waiting = match gate.enter(None, Some(1), now()) {
        Entry::Wait(ticket) => ticket,
        _ => panic!("there was room in the queue"),
    };
    assert!(matches!(gate.enter(None, Some(1), now()), Entry::Full));
    assert!(gate.close().is_empty());
    assert!(matches!(poll(&mut waiting), Some(None)));
    assert!(matches!(gate.enter(None, None, now()), Entry::Closed));
    pass.permit.rest(here, 7);
    assert!(gate.try_enter(None).is_none());
    assert_eq!((gate.free(), gate.resting()), (1, 0));
}

#[test]
fn a_gate_that_closes_hands_out_what_rests() {
    let gate = Gate::<u32>::new(2);
    gate.try_enter(None).unwrap().permit.rest(runtimes()[0].handle().id(), 7);
    assert_eq!(gate.close(), [7]);
    assert_eq!((gate.free(), gate.resting()), (2, 0));
}

/// P21: whoever gives a permit back after the gate was closed, with a session or without, ends the wait for it.
#[test]
fn a_closed_gate_waits_for_every_permit() {
    let runtimes = runtimes();
    let gate = Gate::<u32>::new(3);
    let [first, second, third] = [0; 3].map(|_| gate.try_enter(None).unwrap());
    let hungry = third.permit.trade().unwrap_err();
    assert!(gate.close().is_empty());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut returned = pin!(gate.all_returned());
    let mut is_over = || returned.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    assert!(!is_over());
    first.permit.rest(runtimes[0].handle().id(), 7);
    drop(second);
    assert!(!is_over());
    woken.0.store(false, Ordering::Relaxed);
    drop(hungry);
    assert!(woken.0.load(Ordering::Relaxed) && is_over());
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    GiveUp(usize),
    Release(usize),
    Rest(usize),
    Hunger(usize),
    Feed(usize),
    PutToBed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3usize).prop_map(Step::Enter),
        2 => (0..64usize).prop_map(Step::GiveUp),
        3 => (0..64usize).prop_map(Step::Release),
        8 => (0..64usize).prop_map(Step::Rest),
        1 => (0..64usize).prop_map(Step::Hunger),
        1 => (0..64usize).prop_map(Step::Feed),
        1 => Just(Step::PutToBed),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// P10, P11, P13: whatever happens in whatever order, no permit is lost or made, nobody waits while one is free or a
    /// session rests, the borrowers of one runtime are served in order, and nobody is passed over more than `PATIENCE`
    /// times.
    #[test]
    fn no_permit_is_lost_and_nobody_starves(steps in steps()) {
        const PERMITS: u32 = 3;
        let runtimes = runtimes();
        let id = |runtime: usize| runtimes[runtime].handle().id();
        let gate = Gate::<()>::new(PERMITS);
        let mut held: Vec<(usize, Pass<()>)> = Vec::new();
        let mut hungry: Vec<Hungry<()>> = Vec::new();
        let mut waiting: Vec<(usize, usize, Ticket<()>)> = Vec::new();
        let mut passed_over: HashMap<usize, u64> = HashMap::new();
        for (arrival, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(runtime) => match gate.enter(Some(id(runtime)), None, now()) {
                    Entry::Pass(pass) => held.push((runtime, pass)),
                    Entry::Wait(ticket) => waiting.push((arrival, runtime, ticket)),
                    Entry::Full | Entry::Closed => prop_assert!(false, "neither full nor closed"),
                },
                Step::GiveUp(which) if !waiting.is_empty() => drop(waiting.remove(which % waiting.len())),
                Step::Release(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Rest(which) if !held.is_empty() => {
                    let (runtime, pass) = held.swap_remove(which % held.len());
                    pass.permit.rest(id(runtime), ());
                }
                Step::Hunger(which) if !held.is_empty() => {
                    let (runtime, pass) = held.swap_remove(which % held.len());
                    match pass.permit.trade() {
                        Ok(pass) => held.push((runtime, pass)),
                        Err(one) => hungry.push(one),
                    }
                }
                Step::Feed(which) if !hungry.is_empty() => {
                    let permit = hungry.swap_remove(which % hungry.len()).fed();
                    held.push((0, Pass { session: Some(()), permit }));
                }
                Step::PutToBed => drop(gate.rested(|()| true)),
                _ => {}
            }
            let mut still: Vec<(usize, usize, Ticket<()>)> = Vec::new();
            for (arrival, runtime, mut ticket) in waiting {
                let pass = match poll(&mut ticket) {
                    None => {
                        still.push((arrival, runtime, ticket));
                        continue;
                    }
                    Some(pass) => pass.expect("an open gate"),
                };
                for (earlier, of, _) in &still {
                    prop_assert!(*of != runtime, "{arrival} overtook {earlier} on its own runtime");
                    let times = passed_over.entry(*earlier).or_default();
                    *times += 1;
                    prop_assert!(*times <= PATIENCE, "{earlier} was passed over {times} times");
                }
                held.push((runtime, pass));
            }
            waiting = still;
            prop_assert_eq!((held.len() + hungry.len()) as u32 + gate.free(), PERMITS);
            prop_assert_eq!(gate.waiting() as usize, waiting.len());
            prop_assert!(gate.free() == 0 || waiting.is_empty());
            prop_assert!(gate.resting() == 0 || hungry.is_empty());
        }
    }
}
