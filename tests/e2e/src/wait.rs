//! Waiting for a condition: never for a while.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until the answer is `Ok`, and gives it; at the deadline panics with the last `Err`, which says what
/// was seen instead.
pub async fn eventually<T, S: std::fmt::Display>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => {
                assert!(Instant::now() < deadline, "not within {within:?}: {what}\nlast seen: {seen}");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same for conditions that can be looked at without waiting.
pub fn until<T, S: std::fmt::Display>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => {
                assert!(Instant::now() < deadline, "not within {within:?}: {what}\nlast seen: {seen}");
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
