//! The center's lives: when it dies, for how long it is away, and when it comes back with less than it had.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::house::House;
use crate::dice::Dice;

/// When the center dies and comes back, until `end`; it is up when this returns.
pub(super) async fn keep(
    house: Arc<House>,
    mut dice: Dice,
    end: Instant,
    gap_s: i64,
    restores: Option<PathBuf>,
) -> anyhow::Result<(u64, u64)> {
    let (mut kills, mut restored) = (0, 0);
    let mut backups: VecDeque<PathBuf> = VecDeque::new();
    loop {
        let next = Instant::now() + Duration::from_millis(dice.between(gap_s * 200, gap_s * 3_800) as u64);
        sleep_until(next.min(end)).await;
        if Instant::now() >= end {
            break;
        }
        let torn: Vec<u8> = (0..dice.below(400)).map(|_| dice.next() as u8).collect();
        let back = restores.is_some() && !backups.is_empty() && dice.percent(30);
        // A copy of a closed database and of whole segments is what a backup is.
        house.kill(Some(&torn[..]).filter(|torn| !torn.is_empty() && !back))?;
        kills += 1;
        if let Some(folder) = &restores {
            if back && let Some(backup) = backups.pop_front() {
                house.restore(&backup)?;
                restored += 1;
            } else if backups.is_empty() {
                let backup = folder.join(format!("backup-{kills}"));
                house.copy_to(&backup)?;
                backups.push_back(backup);
            }
        }
        let away = Duration::from_secs(dice.spread(1, 2 * 3600) as u64);
        sleep_until((Instant::now() + away).min(end)).await;
        house.start()?;
    }
    if !house.is_up() {
        house.start()?;
    }
    Ok((kills, restored))
}
