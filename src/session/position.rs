//! Where the write-ahead log of a cluster is: at a primary up to where it was written, at a standby up to where it was replayed.

use super::value::value;
use crate::tokio_postgres::types::PgLsn;
use crate::tokio_postgres::{Client, Error};

/// The cluster, the timeline and the position of a primary; nothing at a standby.
const OF_PRIMARY: &str = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.concat_ws(' ', \
    (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8), \
    pg_catalog.pg_current_wal_insert_lsn()) END";

/// The same of a standby, and whether it receives the log of a timeline that it does not tell.
///
/// It says the timeline of its receiver only to members of `pg_read_all_stats`. What it says to all is that of its last restartpoint,
/// which comes late after a promotion, but never too early.
const OF_STANDBY: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.concat_ws(' ', \
    (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    pg_catalog.to_hex(greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), \
    (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()), \
    (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))), \
    pg_catalog.pg_last_wal_replay_lsn(), \
    EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE received_tli IS NULL)) END";

/// A page of the log, and the longest header of one. No record ends in a header.
const PAGE: u64 = 8192;
const HEADER: u64 = 40;

/// A place in the log of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The identifier that the cluster has from `initdb` on, and hands down to its standbys and backups.
    pub(crate) system: u64,
    /// Counts the promotions.
    pub(crate) timeline: u32,
    pub(crate) lsn: u64,
}

impl Position {
    /// Asks a primary how far it is. `None` where the server is a standby.
    pub(crate) async fn of_primary(client: &Client) -> Result<Option<Self>, Error> {
        Ok(value(client, OF_PRIMARY).await?.and_then(|text| Self::read(&text)))
    }

    /// Asks a standby how far it is, or one that has been promoted.
    pub(super) async fn of_standby(client: &Client) -> Result<Option<Self>, Error> {
        match value(client, OF_STANDBY).await? {
            Some(text) => Ok(Self::read(&text)),
            None => Self::of_primary(client).await,
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (system, timeline, lsn) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            system: system.parse().ok()?,
            timeline: u32::from_str_radix(timeline, 16).ok()?,
            lsn: lsn.parse::<PgLsn>().ok()?.into(),
        })
    }

    /// Whether a primary may have written on from `former` to here: no promotion is between them.
    pub(super) fn follows(self, former: Self) -> bool {
        (self.system, self.timeline) == (former.system, former.timeline) && self.lsn >= former.lsn
    }

    /// Whether a server that is here has what was committed before `other`, as far as any server has kept it.
    ///
    /// A server on an earlier timeline may be further than a promotion that it has not followed. One on a later timeline has all of the
    /// earlier one that the promotion has kept.
    pub(crate) fn has(self, other: Self) -> bool {
        self.system == other.system && self.timeline >= other.timeline && self.lsn >= last_replayed(other.lsn)
    }
}

/// What a standby tells of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replayed {
    /// The timeline is this one or a later one.
    pub(super) position: Position,
    /// It receives the log of a timeline that it does not tell.
    pub(super) may_be_later: bool,
}

impl Replayed {
    /// Asks a server how far it has replayed the log. `None` where it is no standby, `Some(None)` where it cannot say.
    pub(super) async fn by(client: &Client) -> Result<Option<Option<Self>>, Error> {
        Ok(value(client, OF_STANDBY).await?.map(|text| {
            let position = Position::read(&text)?;
            Some(Self { position, may_be_later: text.ends_with(" t") })
        }))
    }

    /// Whether the standby has all before `late`, where its primary was of late. At `latest` that was when the standby had answered, or before.
    ///
    /// One that is further than its primary does not follow it.
    pub(super) fn has(self, late: Position, latest: Position) -> bool {
        let followed = Position { timeline: late.timeline, ..self.position };
        self.position.has(late) || (self.may_be_later && followed.has(late) && followed.lsn <= latest.lsn)
    }

    /// Whether only a later look at the primary can tell.
    pub(super) fn is_ahead_of(self, latest: Position) -> bool {
        self.may_be_later && self.position.timeline < latest.timeline && self.position.lsn > latest.lsn
    }
}

/// What a standby has replayed that has all before this position. On an idle server the next record may begin behind the header of a
/// page, up to which nothing is ever replayed.
fn last_replayed(lsn: u64) -> u64 {
    if lsn % PAGE <= HEADER { lsn - lsn % PAGE } else { lsn }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { system: 7, timeline: 2, lsn: 8192 * 7 + 100 };

    #[test]
    fn an_answer_is_read_or_is_none() {
        let read = Position::read("7712406190661127947 0000000A 16/3000028");
        assert_eq!(
            read,
            Some(Position { system: 7_712_406_190_661_127_947, timeline: 10, lsn: 0x16_0300_0028 })
        );
        for text in ["", "7", "7 1", "7 1 ", "7 x 0/1", "-7 1 0/1", "7 1 01"] {
            assert_eq!(Position::read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_server_has_what_is_before_it_on_its_timeline_or_an_earlier_one() {
        assert!(AT.has(AT) && AT.has(Position { lsn: AT.lsn - 1, ..AT }));
        assert!(!AT.has(Position { lsn: AT.lsn + 1, ..AT }));
        // Promoted meanwhile.
        assert!(AT.has(Position { timeline: 1, ..AT }));
        assert!(!AT.has(Position { timeline: 1, lsn: AT.lsn + 1, ..AT }));
        // Further, on the timeline that a promotion has left.
        assert!(!Position { lsn: u64::MAX, ..AT }.has(Position { timeline: 3, ..AT }));
        // Another cluster.
        assert!(!Position { lsn: u64::MAX, ..AT }.has(Position { system: 8, ..AT }));
    }

    #[test]
    fn a_standby_that_does_not_tell_its_timeline_is_not_further_than_its_primary() {
        let primary = Position { timeline: 3, ..AT };
        let at = |lsn, may_be_later| Replayed { position: Position { lsn, ..AT }, may_be_later };
        assert!(at(AT.lsn, true).has(primary, primary) && !at(AT.lsn - 1, true).has(primary, primary));
        assert!(!at(AT.lsn + 1, true).has(primary, primary) && at(AT.lsn + 1, true).is_ahead_of(primary));
        let later = Position { lsn: AT.lsn + 1, ..primary };
        assert!(at(AT.lsn + 1, true).has(primary, later) && !at(AT.lsn + 1, true).is_ahead_of(later));
        // It receives nothing, or tells the timeline.
        assert!(!at(AT.lsn, false).has(primary, primary) && !at(AT.lsn + 1, false).is_ahead_of(primary));
        // The log of the primary has no promotion, so a standby is ahead of what is known of it.
        assert!(at(AT.lsn + 1, false).has(AT, AT) && !at(AT.lsn + 1, true).is_ahead_of(AT));
        let other = Replayed { position: Position { system: 8, ..AT }, may_be_later: true };
        assert!(!other.has(primary, primary));
    }

    #[test]
    fn the_header_of_a_page_is_nothing_to_have() {
        let server = Position { lsn: 8192 * 7, ..AT };
        assert!(server.has(Position { lsn: 8192 * 7 + 40, ..AT }));
        assert!(!server.has(Position { lsn: 8192 * 7 + 41, ..AT }));
    }
}
