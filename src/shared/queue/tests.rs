//! Every order in which reads can be sent, answered, late, left and lost, up to a length.

use std::task::Poll;

use futures_util::FutureExt;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Send,
    /// The server answers the oldest message, whoever has asked.
    Answer,
    /// The timer of the head runs out.
    Overdue,
    /// The oldest asker that waits drops its future.
    Leave,
    /// A Parse is sent, or answered.
    Parse,
    /// The connection is lost.
    Lose,
}

const STEPS: [Step; 6] = [Step::Send, Step::Answer, Step::Overdue, Step::Leave, Step::Parse, Step::Lose];

struct Asker {
    told: Option<oneshot::Receiver<Told>>,
    was_late: bool,
    answer: Option<Result<u64, ()>>,
}

/// The queue, its reader, and a driver that answers in the order in which it was asked.
struct World {
    queue: Queue,
    head: Option<InFlight>,
    wire: VecDeque<oneshot::Sender<u64>>,
    askers: Vec<Asker>,
    lost: bool,
    info: Arc<StatementInfo>,
}

impl World {
    fn new(info: &Arc<StatementInfo>) -> Self {
        Self {
            queue: Queue::default(),
            head: None,
            wire: VecDeque::new(),
            askers: Vec::new(),
            lost: false,
            info: Arc::clone(info),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send => self.send(),
            Step::Answer => {
                if let Some(answer) = self.wire.pop_front() {
                    let number = (self.askers.len() - self.wire.len() - 1) as u64;
                    // The message may have been given up.
                    let _ = answer.send(number);
                }
            }
            Step::Overdue => {
                if let Some(head) = &mut self.head {
                    for (tell, later) in self.queue.overdue(head) {
                        let _ = tell.send(Told::Late(later));
                    }
                }
            }
            Step::Leave => {
                if let Some(asker) = self.askers.iter_mut().find(|asker| asker.told.is_some()) {
                    asker.told = None;
                }
            }
            Step::Parse => match self.queue.parse.take() {
                Some(_) => {}
                None => self.queue.parses(Instant::now()),
            },
            Step::Lose => {
                self.lost = true;
                self.head = None;
                drop(self.queue.fail());
            }
        }
        self.read();
        self.listen();
    }

    fn send(&mut self) {
        if self.queue.retired {
            return;
        }
        let (answer, answered) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let asker = super::Asker { info: Arc::clone(&self.info), tell, told_late: false };
        let answer_to =
            async move { Answered::Read(Ok(Rows { rows: Vec::new(), count: answered.await.unwrap() })) };
        assert!(self.queue.send(InFlight::new(answer_to.boxed(), Instant::now(), Some(asker))));
        self.wire.push_back(answer);
        self.askers.push(Asker { told: Some(told), was_late: false, answer: None });
    }

    /// What the reader does whenever it is woken.
    fn read(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let Some(mut head) = self.head.take() else {
                match self.queue.next(&cx) {
                    Next::Head(head) => self.head = Some(head),
                    Next::Idle(_) | Next::End => return,
                }
                continue;
            };
            match head.answer.as_mut().poll(&mut cx) {
                Poll::Ready(Answered::Read(answer)) => {
                    self.queue.answered(&head, Instant::now());
                    let _ = head.asker.take().unwrap().tell.send(Told::Answer(answer));
                }
                _ => {
                    self.head = Some(head);
                    return;
                }
            }
        }
    }

    /// What the askers hear.
    fn listen(&mut self) {
        for asker in &mut self.askers {
            while let Some(told) = &mut asker.told {
                match told.try_recv() {
                    Ok(Told::Answer(answer)) => {
                        (asker.answer, asker.told) = (Some(Ok(answer.unwrap().count)), None)
                    }
                    Ok(Told::Late(later)) => (asker.was_late, asker.told) = (true, Some(later)),
                    Err(oneshot::error::TryRecvError::Closed) => {
                        (asker.answer, asker.told) = (Some(Err(())), None)
                    }
                    Err(oneshot::error::TryRecvError::Empty) => break,
                }
            }
        }
    }
}

/// P26: an asker hears the answer to its own question, or that it is lost, and hears it in any case.
#[test]
fn every_schedule_tells_everybody_what_is_his() {
    const LENGTH: u32 = 7;
    let info = crate::stats::Register::default().get("SELECT 1");
    for schedule in 0..STEPS.len().pow(LENGTH) {
        let steps: Vec<Step> =
            (0..LENGTH).map(|at| STEPS[schedule / STEPS.len().pow(at) % STEPS.len()]).collect();
        let mut world = World::new(&info);
        for &step in &steps {
            world.step(step);
            // Nobody is late without a head that is.
            let anybody = world.askers.iter().any(|asker| asker.was_late);
            assert!(!anybody || steps.contains(&Step::Overdue), "{steps:?}");
        }
        let left: Vec<bool> =
            world.askers.iter().map(|asker| asker.told.is_none() && asker.answer.is_none()).collect();
        while !world.wire.is_empty() {
            world.step(Step::Answer);
        }
        for (number, (asker, left)) in world.askers.iter().zip(left).enumerate() {
            match asker.answer {
                Some(Ok(answer)) => assert_eq!(answer, number as u64, "{steps:?}"),
                Some(Err(())) => assert!(world.lost, "{steps:?}"),
                None => assert!(left, "{number} hears nothing: {steps:?}"),
            }
        }
        assert_eq!(world.queue.depth(), 0, "{steps:?}");
        drop(world);
        assert!(info.sharing().allows(Duration::from_millis(5)), "nobody is to blame any more: {steps:?}");
    }
}

/// P26: those behind an overdue head are told once each, and the head is to blame, unless a Parse before it is.
#[test]
fn who_is_late_and_who_is_to_blame() {
    let info = crate::stats::Register::default().get("SELECT 1");
    for parse in [false, true] {
        let mut world = World::new(&info);
        if parse {
            world.step(Step::Parse);
        }
        for step in [Step::Send, Step::Send, Step::Send, Step::Overdue, Step::Overdue] {
            world.step(step);
        }
        let late: Vec<bool> = world.askers.iter().map(|asker| asker.was_late).collect();
        assert_eq!(late, [parse, true, true]);
        assert_eq!(info.sharing().allows(Duration::from_millis(5)), parse);
        assert!(world.queue.late);
        world.step(Step::Answer);
        assert!(!world.queue.late && info.sharing().allows(Duration::from_millis(5)));
    }
}

/// P26: a Parse is to blame only from when all before it is answered, until what was sent after it is.
#[test]
fn a_parse_is_not_to_blame_for_what_was_sent_before_it() {
    let info = crate::stats::Register::default().get("SELECT 1");
    let mut world = World::new(&info);
    for step in [Step::Send, Step::Parse, Step::Send, Step::Overdue] {
        world.step(step);
    }
    let late: Vec<bool> = world.askers.iter().map(|asker| asker.was_late).collect();
    assert_eq!(late, [false, true]);
    assert!(!info.sharing().allows(Duration::from_millis(5)), "the head is to blame");
    assert_eq!(world.queue.parse_is_oldest_since(), None);
    let before = Instant::now();
    world.step(Step::Answer);
    assert!(world.queue.parse_is_oldest_since().is_some_and(|since| since >= before));
    world.step(Step::Overdue);
    assert!(info.sharing().allows(Duration::from_millis(5)), "the Parse is to blame");
    world.step(Step::Answer);
    assert_eq!(world.queue.parse_is_oldest_since(), None);
}
