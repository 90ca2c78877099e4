//! Whether messages may be sent on a lent session.

/// Whether messages may be sent. What is broken stays so.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// Nobody may send: a repair is going on, the first or last statement of a transaction is unanswered, or the server is asked
    /// whether it takes writes.
    Held,
    /// A repair failed or was late, the driver lost step, or a statement panicked. Nothing is sent any more.
    Broken,
}

impl Health {
    /// Lets nobody send.
    pub(super) fn hold(&mut self) {
        if *self == Self::Sound {
            *self = Self::Held;
        }
    }

    /// Lets others send again.
    pub(super) fn release(&mut self) {
        if *self == Self::Held {
            *self = Self::Sound;
        }
    }

    /// Lets nobody send ever again.
    pub(super) fn break_down(&mut self) {
        *self = Self::Broken;
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn what_is_broken_stays_broken() {
        let mut health = Health::default();
        health.hold();
        assert_eq!(health, Health::Held);
        health.break_down();
        health.release();
        health.hold();
        assert_eq!(health, Health::Broken);
    }
}
