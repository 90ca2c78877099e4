//! The gate without a pool behind it: a number stands for what is handed on.

use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

use super::lanes::{LEAD, MAX_OVERTAKES};
use super::*;

mod model;

/// Three runtimes, for their ids.
fn runtimes() -> Vec<Runtime> {
    (0..3).map(|_| Builder::new_current_thread().build().unwrap()).collect()
}

/// All come at the same time, unless a test is about that.
fn now() -> Instant {
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    *NOW
}

fn poll<S>(waiting: &mut Waiting<S>) -> Option<Option<Result<Grant<S>, Refusal>>> {
    match waiting.poll_unpin(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(called) => Some(called),
        Poll::Pending => None,
    }
}

/// The grant of one who has been called.
fn called<S>(waiting: &mut Waiting<S>) -> Option<Grant<S>> {
    poll(waiting).map(|called| called.expect("an open gate").expect("a session"))
}

fn wait<S>(gate: &Arc<Gate<S>>, runtime: Id) -> Waiting<S> {
    match gate.enter(Some(runtime), None, now()) {
        Entry::Wait(waiting) => waiting,
        _ => panic!("no session rests"),
    }
}

/// A place that a session is opened in.
fn opening<S>(gate: &Arc<Gate<S>>) -> Permit<S> {
    gate.place_to_spare().expect("a free place")
}

/// A gate all of whose sessions are lent.
fn all_lent<const N: usize>() -> (Arc<Gate<usize>>, [Grant<usize>; N]) {
    let gate = Gate::new(N as u32);
    (0..N).for_each(|at| assert!(opening(&gate).deliver(None, at).is_none()));
    let grants = std::array::from_fn(|_| gate.take(None).expect("it rests"));
    (gate, grants)
}

/// Gives a session back that this runtime has driven.
fn rest<S>(grant: Grant<S>, runtime: Id) {
    grant.permit.deliver(Some(runtime), grant.session);
}

/// A place for each session that should be opened now.
fn wanted<S>(gate: &Arc<Gate<S>>) -> Vec<Permit<S>> {
    std::iter::from_fn(|| gate.place_for_waiter().now_or_never().flatten()).collect()
}

/// P11.
#[test]
fn a_session_goes_to_who_came_first() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let (gate, [grant]) = all_lent();
    let (mut first, mut second) = (wait(&gate, there), wait(&gate, here));
    grant.permit.deliver(None, grant.session);
    let grant = called(&mut first).expect("the first");
    assert!(poll(&mut second).is_none());
    // A place that is free is no session: one is opened for whoever is next.
    drop(grant.permit);
    assert!(poll(&mut second).is_none());
    let mut places = wanted(&gate);
    assert_eq!(places.len(), 1);
    places.remove(0).deliver(None, 7);
    assert_eq!(called(&mut second).expect("the second").session, 7);
}

/// P11.
#[test]
fn a_session_stays_on_its_runtime_but_passes_nobody_over_for_ever() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let (gate, [mut grant]) = all_lent();
    let mut elsewhere = wait(&gate, there);
    for _ in 1..MAX_OVERTAKES {
        let mut own = wait(&gate, here);
        rest(grant, here);
        grant = called(&mut own).expect("its own");
    }
    let mut own = wait(&gate, here);
    rest(grant, here);
    assert!(poll(&mut own).is_none());
    assert!(called(&mut elsewhere).is_some());
}

/// P11.
#[test]
fn a_session_leaves_its_runtime_for_one_who_came_long_before() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    for (later, stays) in [(LEAD - Duration::from_nanos(1), true), (LEAD, false)] {
        let (gate, [grant]) = all_lent();
        let mut elsewhere = wait(&gate, there);
        let Entry::Wait(mut own) = gate.enter(Some(here), None, now() + later) else {
            panic!("all are lent")
        };
        rest(grant, here);
        assert_eq!((poll(&mut own).is_some(), poll(&mut elsewhere).is_some()), (stays, !stays));
    }
}

/// P12, P13: what rests is borrowed where it is driven, and elsewhere only when there is no other.
#[test]
fn a_session_that_rests_is_borrowed_by_its_own_runtime_first() {
    let runtimes = runtimes();
    let (here, there) = (runtimes[0].handle().id(), runtimes[1].handle().id());
    let (gate, grants) = all_lent::<3>();
    let sessions = grants.each_ref().map(|grant| grant.session);
    for (at, grant) in grants.into_iter().enumerate() {
        rest(grant, if at == 2 { there } else { here });
    }
    assert_eq!((gate.open(), gate.resting()), (3, 3));
    let grants = [here, there, there].map(|runtime| gate.take(Some(runtime)).expect("it rests"));
    // The one used last; then the only one there; then the one that has rested longest elsewhere.
    assert_eq!(grants.each_ref().map(|grant| grant.session), [sessions[1], sessions[2], sessions[0]]);
    assert!(gate.take(Some(here)).is_none());
}

/// P11: a session is opened for each who waits, but those whom one that is being reset will serve.
#[test]
fn one_who_waits_is_left_to_a_session_that_is_being_reset() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::new(3);
    opening(&gate).deliver(None, 0);
    let grant = gate.take(None).expect("it rests");
    let resetting = gate.resetting();
    let mut first = wait(&gate, here);
    assert!(wanted(&gate).is_empty());
    let mut second = wait(&gate, here);
    let mut places = wanted(&gate);
    assert_eq!(places.len(), 1);
    rest(grant, here);
    drop(resetting);
    assert!(called(&mut first).is_some() && wanted(&gate).is_empty());
    places.remove(0).deliver(None, 1);
    assert_eq!(called(&mut second).expect("the second").session, 1);
    // One that takes too long does not count any more.
    let resetting = gate.resetting();
    let _third = wait(&gate, here);
    assert!(wanted(&gate).is_empty());
    drop(resetting);
    assert_eq!(wanted(&gate).len(), 1);
}

/// P14, P16: during an outage one attempt at a time is made, if it is of use; after it, few at first.
#[test]
fn an_outage_opens_one_at_a_time() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::new(4);
    let mut waiting = [0; 4].map(|_| wait(&gate, here));
    let places = wanted(&gate);
    assert_eq!(places.len(), 4);
    gate.limit_opening(|_| 0);
    drop(places);
    assert!(wanted(&gate).is_empty() && gate.place_below(1).is_none());
    let attempt = gate.place_to_try(0, false).expect("four wait");
    assert!(gate.place_to_try(0, true).is_none(), "one at a time");
    gate.limit_opening(|limit| (limit * 2).max(1));
    attempt.deliver(None, 0);
    assert!(called(&mut waiting[0]).is_some());
    assert_eq!(wanted(&gate).len(), 1);
    gate.limit_opening(|limit| (limit * 2).max(1));
    assert_eq!(wanted(&gate).len(), 2);
    // With nothing alive all are told.
    gate.limit_opening(|_| 0);
    gate.refuse_all(&ConnectError::closed());
    assert!(waiting[1..].iter_mut().all(|waiting| matches!(poll(waiting), Some(Some(Err(_))))));
    assert!(gate.place_to_try(0, false).is_none(), "nobody waits, and the floor is met");
    assert!(gate.place_to_try(2, false).is_some() && gate.place_to_try(0, true).is_some());
    // Nor where nobody may wait, but for who would have.
    assert!(matches!(gate.enter(Some(here), Some(0), now()), Entry::Full));
    assert!(gate.place_to_try(0, false).is_some() && gate.place_to_try(0, false).is_none());
}

/// P10, P16: a place is free when its session has ended, and sessions that are ending do not count towards the floor.
#[test]
fn a_place_is_free_when_its_session_has_ended() {
    let (gate, [mut first, second]) = all_lent();
    first.permit.ending();
    assert_eq!(gate.open(), 1);
    assert!(gate.place_below(2).is_none(), "there is no place yet");
    drop(first);
    let place = gate.place_below(2).expect("a place");
    assert!(gate.place_below(2).is_none(), "it is being opened");
    place.deliver(None, 2);
    assert_eq!(gate.open(), 2);
    drop(second);
}

/// P16: what rests is taken out, the longest rested first.
#[test]
fn what_rests_is_taken_out() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let (gate, grants) = all_lent::<3>();
    let sessions = grants.each_ref().map(|grant| grant.session);
    grants.into_iter().for_each(|grant| rest(grant, here));
    let taken = gate.take_resting(1, |session| *session != sessions[0]);
    assert_eq!(taken.iter().map(|grant| grant.session).collect::<Vec<_>>(), [sessions[1]]);
    assert_eq!((gate.open(), gate.resting()), (3, 2));
    drop(taken);
    assert_eq!((gate.open(), gate.resting()), (2, 2));
}

/// P11: a waiter that gives up costs nobody anything, even if it had been called.
#[test]
fn one_who_gives_up_after_the_call_passes_it_on() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let (gate, [grant]) = all_lent();
    let first = wait(&gate, here);
    let mut second = wait(&gate, here);
    rest(grant, here);
    drop(first);
    called(&mut second).expect("the second").pass_on();
    assert_eq!((gate.open(), gate.resting(), gate.waiting()), (1, 1, 0));
}

/// P14: beyond those for whom there is a place, `max_waiting` may wait.
#[test]
fn a_full_queue_and_a_closed_gate_send_away() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let gate = Gate::<usize>::new(1);
    let Entry::Wait(_first) = gate.enter(None, Some(0), now()) else { panic!("there is a place") };
    assert!(matches!(gate.enter(None, Some(0), now()), Entry::Full));
    let (gate, [grant]) = all_lent();
    let Entry::Wait(mut waiting) = gate.enter(None, Some(1), now()) else { panic!("there is room") };
    assert!(matches!(gate.enter(None, Some(1), now()), Entry::Full));
    assert!(gate.close().is_empty());
    assert!(matches!(poll(&mut waiting), Some(None)));
    assert!(matches!(gate.enter(None, None, now()), Entry::Closed));
    assert!(matches!(gate.place_for_waiter().now_or_never(), Some(None)));
    rest(grant, here);
    assert!(gate.take(None).is_none());
    assert_eq!((gate.open(), gate.resting()), (0, 0));
}

#[test]
fn a_gate_that_closes_hands_out_what_rests() {
    let (gate, [grant]) = all_lent();
    rest(grant, runtimes()[0].handle().id());
    assert_eq!(gate.close(), [0]);
    assert_eq!((gate.open(), gate.resting()), (0, 0));
}

/// P21: whoever gives a place back after the gate was closed, with a session or without, ends the wait for it.
#[test]
fn a_closed_gate_waits_for_every_place() {
    let runtimes = runtimes();
    let (gate, [first, second]) = all_lent();
    assert!(gate.close().is_empty());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut returned = pin!(gate.all_returned());
    let mut is_over = || returned.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    assert!(!is_over());
    rest(first, runtimes[0].handle().id());
    assert!(!is_over());
    woken.0.store(false, Ordering::Relaxed);
    drop(second);
    assert!(woken.0.load(Ordering::Relaxed) && is_over());
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_larger_gate_has_room_at_once() {
    let runtimes = runtimes();
    let (gate, _lent) = all_lent::<1>();
    let mut waiting = wait(&gate, runtimes[0].handle().id());
    assert!(wanted(&gate).is_empty());
    assert!(gate.resize(3).is_empty());
    let mut places = wanted(&gate);
    assert_eq!(places.len(), 1, "one for each who waits");
    assert!(places.remove(0).deliver(None, 7).is_none());
    assert_eq!(called(&mut waiting).expect("the waiter").session, 7);
    assert!(gate.place_to_spare().is_some() && gate.size() == 3);
}

#[test]
fn a_smaller_gate_gives_back_what_comes_to_it() {
    let (gate, lent) = all_lent::<4>();
    let [first, second, third, fourth] = lent;
    assert!(first.permit.deliver(None, first.session).is_none());
    let resting = gate.resize(2);
    assert_eq!(resting.len(), 1, "what rests goes at once");
    let surplus = second.permit.deliver(None, second.session).expect("one too many");
    // Those that are being ended are enough.
    assert!(third.permit.deliver(None, third.session).is_none());
    assert!(gate.place_to_spare().is_none(), "no place is given on before its session is gone");
    drop((surplus, resting));
    assert!(gate.place_to_spare().is_none());
    drop(fourth);
    assert!(gate.place_to_spare().is_some());

    // Larger again before it was small: nothing has to go.
    let (gate, [one, other]) = all_lent::<2>();
    gate.resize(1);
    gate.resize(2);
    assert!(one.permit.deliver(None, one.session).is_none());
    assert!(other.permit.deliver(None, other.session).is_none());
    gate.resize(1);
    gate.close();
    assert!(gate.all_returned().now_or_never().is_some());
}

/// P30: who has waited too long is refused, the next in line is served, and no place is lost.
#[test]
fn an_overloaded_queue_is_shed() {
    let runtimes = runtimes();
    let here = runtimes[0].handle().id();
    let (gate, [grant]) = all_lent();
    gate.shed_above(Duration::ZERO, Duration::ZERO);
    let (mut first, mut second) = (wait(&gate, here), wait(&gate, here));
    // Until the clock has moved on.
    while gate.shed() {}
    assert!(matches!(poll(&mut first), Some(Some(Err(Refusal::Overload { .. })))));
    assert!(matches!(poll(&mut second), Some(Some(Err(Refusal::Overload { .. })))));
    rest(grant, here);
    assert_eq!((gate.resting(), gate.waiting(), gate.open()), (1, 0, 1));
}
