//! Who may work on the installation page: whoever has the code that the gateway's owner asked for, for some hours.
//!
//! One opening at a time: asking for another code ends the one before and all that entered with it. A code is eight digits;
//! [`WRONG_MAX`] wrong ones end it. Nothing of this is kept: a restart closes the page.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_wire::{hash, hex};

/// For so long at most.
pub const SPAN_MAX: Duration = Duration::from_hours(24);
/// Wrong codes that end an opening: one in ten million guesses.
pub const WRONG_MAX: u32 = 10;
/// Phones at a time; the oldest gives way.
const PHONES_MAX: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Access(Mutex<Option<Opening>>);

#[derive(Debug)]
struct Opening {
    by: String,
    code: [u8; 32],
    until: Instant,
    wrong: u32,
    /// Hashes of the tokens given out, oldest first.
    phones: Vec<[u8; 32]>,
}

/// What became of a code.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// The token to come back with, and for how long it counts.
    In(String, Duration),
    /// Not the code; so many more tries.
    Wrong(u32),
    /// There is none to give: none was asked for, its time is over, or it was guessed at.
    Closed,
}

impl Access {
    /// A code for whoever installs, `by`; it counts for `span` from `now`.
    pub fn open(&self, by: String, span: Duration, now: Instant) -> anyhow::Result<String> {
        let mut random = [0; 8];
        fill(&mut random)?;
        // The bias of the remainder is below one in 10^11.
        let code = format!("{:08}", u64::from_le_bytes(random) % 100_000_000);
        let opening = Opening {
            by,
            code: hash(code.as_bytes()),
            until: now + span.min(SPAN_MAX),
            wrong: 0,
            phones: Vec::new(),
        };
        *self.lock() = Some(opening);
        Ok(code)
    }

    /// Somebody says that this is the code. Blanks in it do not matter.
    pub fn enter(&self, code: &str, now: Instant) -> anyhow::Result<Entered> {
        let mut slot = self.lock();
        let Some(opening) = slot.as_mut().filter(|opening| opening.until > now) else {
            return Ok(Entered::Closed);
        };
        let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        // Hashes are compared: how long that takes says nothing of the code.
        if hash(typed.as_bytes()) != opening.code {
            opening.wrong += 1;
            let left = WRONG_MAX - opening.wrong;
            if left == 0 {
                *slot = None;
                return Ok(Entered::Closed);
            }
            return Ok(Entered::Wrong(left));
        }
        let mut random = [0; 16];
        fill(&mut random)?;
        let token = hex(&random);
        if opening.phones.len() == PHONES_MAX {
            opening.phones.remove(0);
        }
        opening.phones.push(hash(token.as_bytes()));
        Ok(Entered::In(token, opening.until - now))
    }

    /// Whose installation it is, for who has a token.
    pub fn who(&self, token: &str, now: Instant) -> Option<String> {
        let slot = self.lock();
        let opening = slot.as_ref().filter(|opening| opening.until > now)?;
        opening.phones.contains(&hash(token.as_bytes())).then(|| opening.by.clone())
    }

    /// Is there a code to enter?
    pub fn is_open(&self, now: Instant) -> bool {
        self.lock().as_ref().is_some_and(|opening| opening.until > now)
    }

    /// Nobody works on the page any more.
    pub fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Opening>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fill(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(access: &Access, code: &str, now: Instant) -> Entered {
        access.enter(code, now).unwrap()
    }

    #[test]
    fn the_code_opens_for_its_time_and_no_longer() {
        let (access, now) = (Access::default(), Instant::now());
        assert_eq!(enter(&access, "12345678", now), Entered::Closed);
        let code = access.open("p-1".into(), Duration::from_hours(2), now).unwrap();
        assert_eq!((code.len(), access.is_open(now)), (8, true));
        let spaced = format!(" {} {} ", &code[..4], &code[4..]);
        let Entered::In(token, left) = enter(&access, &spaced, now + Duration::from_hours(1)) else {
            panic!("the code is right");
        };
        assert_eq!(left, Duration::from_hours(1));
        assert_eq!(access.who(&token, now).as_deref(), Some("p-1"));
        assert_eq!(access.who("0", now), None);
        let later = now + Duration::from_hours(2);
        assert_eq!((access.who(&token, later), access.is_open(later)), (None, false));
        assert_eq!(enter(&access, &code, later), Entered::Closed);
        // Another code ends what was before it.
        access.open("p-2".into(), SPAN_MAX * 2, now).unwrap();
        assert_eq!(access.who(&token, now), None);
        assert!(!access.is_open(now + SPAN_MAX), "at most");
    }

    #[test]
    fn guessing_ends_the_code() {
        let (access, now) = (Access::default(), Instant::now());
        let code = access.open("p-1".into(), SPAN_MAX, now).unwrap();
        let wrong = if code == "00000000" { "00000001" } else { "00000000" };
        for left in (1..WRONG_MAX).rev() {
            assert_eq!(enter(&access, wrong, now), Entered::Wrong(left));
        }
        assert_eq!(enter(&access, wrong, now), Entered::Closed);
        assert_eq!(enter(&access, &code, now), Entered::Closed);
    }

    #[test]
    fn the_oldest_phone_gives_way() {
        let (access, now) = (Access::default(), Instant::now());
        let code = access.open("p-1".into(), SPAN_MAX, now).unwrap();
        let tokens: Vec<String> = (0..=PHONES_MAX)
            .map(|_| match enter(&access, &code, now) {
                Entered::In(token, _) => token,
                other @ (Entered::Wrong(_) | Entered::Closed) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(access.who(&tokens[0], now), None);
        assert!(tokens[1..].iter().all(|token| access.who(token, now).is_some()));
        access.close();
        assert_eq!(access.who(&tokens[1], now), None);
    }
}
