//! Random schedules of borrowers, returns and outages, checked step by step.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    GiveUp(usize),
    Rest(usize),
    End(usize),
    Reset(usize),
    Overdue(usize),
    Open,
    Opened(usize),
    NotOpened(usize),
    TakeOut,
    Resize(u32),
    Ended(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3usize).prop_map(Step::Enter),
        2 => (0..64usize).prop_map(Step::GiveUp),
        8 => (0..64usize).prop_map(Step::Rest),
        2 => (0..64usize).prop_map(Step::End),
        2 => (0..64usize).prop_map(Step::Reset),
        2 => (0..64usize).prop_map(Step::Overdue),
        4 => Just(Step::Open),
        4 => (0..64usize).prop_map(Step::Opened),
        1 => (0..64usize).prop_map(Step::NotOpened),
        1 => Just(Step::TakeOut),
        1 => (1..6u32).prop_map(Step::Resize),
        2 => (0..64usize).prop_map(Step::Ended),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// P10, P11, P13: whatever happens in whatever order, no place is lost or made, nobody waits while a session rests, one is
    /// opened for each who waits and is not about to be served, the borrowers of one runtime are served in order, and
    /// nobody is passed over more than `MAX_OVERTAKES` times. While there are more places than there should be, none is taken.
    #[test]
    fn no_place_is_lost_and_nobody_starves(steps in steps()) {
        let (mut places, mut taken) = (3, 0);
        let runtimes = runtimes();
        let id = |runtime: usize| runtimes[runtime].handle().id();
        let gate = Gate::<()>::new(places);
        let mut held: Vec<(usize, Grant<()>, Option<Resetting<()>>)> = Vec::new();
        let mut opening: Vec<Permit<()>> = Vec::new();
        let mut ending: Vec<Permit<()>> = Vec::new();
        let mut waiting: Vec<(usize, usize, Waiting<()>)> = Vec::new();
        let mut passed_over: HashMap<usize, u64> = HashMap::new();
        for (arrival, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(runtime) => match gate.enter(Some(id(runtime)), None, now()) {
                    Entry::Granted(grant) => held.push((runtime, grant, None)),
                    Entry::Wait(wait) => waiting.push((arrival, runtime, wait)),
                    Entry::Full | Entry::Closed => prop_assert!(false, "neither full nor closed"),
                },
                Step::GiveUp(which) if !waiting.is_empty() => drop(waiting.remove(which % waiting.len())),
                Step::Rest(which) if !held.is_empty() => {
                    let (runtime, grant, resetting) = held.swap_remove(which % held.len());
                    ending.extend(grant.permit.deliver(Some(id(runtime)), ()).map(|surplus| surplus.permit));
                    drop(resetting);
                }
                Step::End(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Reset(which) if !held.is_empty() => {
                    let at = which % held.len();
                    held[at].2.get_or_insert_with(|| gate.resetting());
                }
                Step::Overdue(which) if !held.is_empty() => {
                    let at = which % held.len();
                    drop(held[at].2.take());
                }
                Step::Open => opening.extend(wanted(&gate)),
                Step::Opened(which) if !opening.is_empty() => {
                    let permit = opening.swap_remove(which % opening.len());
                    ending.extend(permit.deliver(Some(id(0)), ()).map(|surplus| surplus.permit));
                }
                Step::NotOpened(which) if !opening.is_empty() => {
                    drop(opening.swap_remove(which % opening.len()));
                }
                Step::TakeOut => gate.take_resting(1, |()| true).into_iter().for_each(drop),
                Step::Resize(to) => {
                    places = to;
                    ending.extend(gate.resize(to).into_iter().map(|grant| grant.permit));
                }
                Step::Ended(which) if !ending.is_empty() => drop(ending.swap_remove(which % ending.len())),
                _ => {}
            }
            let mut still: Vec<(usize, usize, Waiting<()>)> = Vec::new();
            for (arrival, runtime, mut waiting) in waiting {
                let Some(grant) = called(&mut waiting) else {
                    still.push((arrival, runtime, waiting));
                    continue;
                };
                for (earlier, of, _) in &still {
                    prop_assert!(*of != runtime, "{arrival} overtook {earlier} on its own runtime");
                    let times = passed_over.entry(*earlier).or_default();
                    *times += 1;
                    prop_assert!(*times <= MAX_OVERTAKES, "{earlier} was passed over {times} times");
                }
                held.push((runtime, grant, None));
            }
            waiting = still;
            prop_assert_eq!(held.len() as u32 + gate.resting(), gate.open());
            let before = std::mem::replace(&mut taken, gate.open() + (opening.len() + ending.len()) as u32);
            prop_assert!(taken <= before.max(places), "{taken} of {places}, after {before}");
            prop_assert_eq!(gate.size(), places);
            prop_assert_eq!(gate.waiting() as usize, waiting.len());
            prop_assert!(gate.resting() == 0 || waiting.is_empty());
            let (coming, free) = (held.iter().filter(|held| held.2.is_some()).count(), wanted(&gate));
            let open = gate.open() as usize + opening.len() + ending.len() + free.len();
            prop_assert!(open >= places as usize || waiting.len() <= opening.len() + free.len() + coming);
        }
    }
}
