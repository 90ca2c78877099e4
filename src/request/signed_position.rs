//! What a client has written, in a form that only this application can have made.
//!
//! ```text
//!   the cluster · the timeline · the position · until when it counts · the first half of HMAC-SHA-256
//!        8             4             8                  8                         16 bytes, in hexadecimal
//! ```

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::written::Written;
use crate::config::Key;
use crate::session::Position;

/// How long a position counts. Longer than a standby that is in use is behind, and short enough that a position of which nothing will
/// ever come, as after a backup was restored, does not keep the primary busy.
const LIFETIME: Duration = Duration::from_secs(600);

const SAID: usize = 28;
const SIGNED: usize = SAID + 16;

/// Keeps the key from signing for others what it signs here.
const PURPOSE: &[u8] = b"actix-pg position 1";

/// The timeline that no server reaches.
const NONE: u32 = u32::MAX;

/// So many signatures are checked. A browser sends one.
const MOST: usize = 4;

/// Signs what clients have written, and knows its own signature again.
#[derive(Clone)]
pub(super) struct Signer {
    hmac: Hmac<Sha256>,
    /// How long a write somewhere counts: no standby in use is further behind.
    unknown: Duration,
}

impl Signer {
    pub(super) fn new(key: &Key, unknown: Option<Duration>) -> Self {
        let hmac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("any length will do");
        // In whole seconds, of which the present one has passed in part.
        let unknown = unknown.map_or(LIFETIME, |most| Duration::from_secs(most.as_secs() + 2).min(LIFETIME));
        Self { hmac: hmac.chain_update(PURPOSE), unknown }
    }

    /// How long what a client has written counts.
    pub(super) fn lifetime(&self, written: Written) -> Duration {
        match written {
            Written::UpTo(_) => LIFETIME,
            Written::Somewhere => self.unknown,
        }
    }

    pub(super) fn sign(&self, written: Written, now: SystemTime) -> String {
        let Position { system, timeline, lsn } = match written {
            Written::UpTo(position) => position,
            Written::Somewhere => Position { system: 0, timeline: NONE, lsn: 0 },
        };
        let mut said = Vec::with_capacity(SIGNED);
        said.extend(system.to_be_bytes());
        said.extend(timeline.to_be_bytes());
        said.extend(lsn.to_be_bytes());
        said.extend(seconds(now + self.lifetime(written)).to_be_bytes());
        let signature = self.hmac.clone().chain_update(&said).finalize().into_bytes();
        said.extend(&signature[..SIGNED - SAID]);
        said.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a client has written, as all of these texts say. One that is hidden behind too many others may have been signed: then only
    /// the primary will do.
    pub(super) fn read_all<'t>(
        &self,
        texts: impl Iterator<Item = &'t str>,
        now: SystemTime,
    ) -> Option<Written> {
        let mut texts = texts.filter(|text| text.len() == 2 * SIGNED);
        let first = texts.by_ref().take(MOST);
        let read = first.filter_map(|text| self.read(text, now)).reduce(Written::and);
        if texts.next().is_some() { Some(Written::Somewhere) } else { read }
    }

    /// What was signed, if it still counts. `None` for everything else.
    pub(super) fn read(&self, text: &str, now: SystemTime) -> Option<Written> {
        let signed = bytes(text)?;
        let (said, signature) = signed.split_at(SAID);
        self.hmac.clone().chain_update(said).verify_truncated_left(signature).ok()?;
        let (system, said) = said.split_first_chunk()?;
        let (timeline, said) = said.split_first_chunk()?;
        let (lsn, until) = said.split_first_chunk()?;
        if u64::from_be_bytes(until.try_into().ok()?) <= seconds(now) {
            return None;
        }
        let (system, timeline) = (u64::from_be_bytes(*system), u32::from_be_bytes(*timeline));
        let lsn = u64::from_be_bytes(*lsn);
        Some(if timeline == NONE {
            Written::Somewhere
        } else {
            Written::UpTo(Position { system, timeline, lsn })
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Text of the right length that is hexadecimal.
fn bytes(text: &str) -> Option<[u8; SIGNED]> {
    let digits: &[u8; 2 * SIGNED] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; SIGNED];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Written = Written::UpTo(Position { system: 7, timeline: 2, lsn: 0x16_0300_0028 });

    fn signer(key: u8) -> Signer {
        Signer::new(&Key::of(&[key; 32]), None)
    }

    #[test]
    fn what_was_signed_is_read_until_it_expires() {
        let (signer, now) = (signer(b'a'), SystemTime::now());
        for written in [WRITTEN, Written::Somewhere] {
            let text = signer.sign(written, now);
            assert_eq!(signer.read(&text, now), Some(written));
            assert_eq!(signer.read(&text, now + LIFETIME - Duration::from_secs(1)), Some(written));
            assert_eq!(signer.read(&text, now + LIFETIME), None);
        }
    }

    #[test]
    fn with_a_bound_of_the_lag_the_unknown_counts_no_longer_than_that() {
        let signer = Signer::new(&Key::of(b"key"), Some(Duration::from_millis(2_500)));
        assert_eq!(signer.lifetime(Written::Somewhere), Duration::from_secs(4));
        assert_eq!(signer.lifetime(WRITTEN), LIFETIME);
        let later = SystemTime::now() + Duration::from_secs(4);
        assert_eq!(signer.read(&signer.sign(Written::Somewhere, SystemTime::now()), later), None);
    }

    #[test]
    fn none_is_hidden_behind_others() {
        let (signer, now) = (signer(b'a'), SystemTime::now());
        let text = signer.sign(WRITTEN, now);
        let forged = "0".repeat(text.len());
        let behind = |other, count| signer.read_all(std::iter::repeat_n(other, count).chain([&*text]), now);
        for count in [0, 3, 1_000] {
            assert_eq!(behind("1", count), Some(WRITTEN));
        }
        assert_eq!(behind(&forged, 3), Some(WRITTEN));
        assert_eq!(behind(&forged, 4), Some(Written::Somewhere));
        assert_eq!(signer.read_all([&*forged; 4].into_iter(), now), None);
    }

    #[test]
    fn nothing_else_is_read() {
        let (own, now) = (signer(b'a'), SystemTime::now());
        let text = own.sign(WRITTEN, now);
        assert_eq!(signer(b'b').read(&text, now), None);
        // Each bit counts.
        for at in 0..text.len() {
            for bit in 0..4 {
                let mut forged = text.clone().into_bytes();
                let digit = char::from(forged[at]).to_digit(16).expect("a digit") ^ (1 << bit);
                forged[at] = u8::try_from(char::from_digit(digit, 16).expect("a digit")).expect("a digit");
                assert_eq!(own.read(std::str::from_utf8(&forged).expect("text"), now), None);
            }
        }
        let long = "0".repeat(1 << 20);
        let no_digits = format!("+{}", &text[1..]);
        for text in
            ["", "1", &text[1..], &text[..86], &format!("{text}00"), &long, &no_digits, &"ä".repeat(44)]
        {
            assert_eq!(own.read(text, now), None);
        }
    }
}
