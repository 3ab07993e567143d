//! `gateway reload`: a running gateway takes its site file as it is now. `gateway diff`: what two site files differ in.
//!
//! 0 = in force (or would be), 1 = the gateway cannot take it now, 78 = the site file has problems.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CONFIG, Ended, GOOD, Overrides, WRONG, data_dir, load, runtime, say};
use crate::config::difference::Difference;
use crate::door;

/// See [`super::Command::Reload`].
#[derive(Args)]
pub(super) struct Asked {
    /// The site file that the gateway was started with.
    site: PathBuf,
    /// Its data directory; default: beside the site file, named after it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only say what would be different; nothing is recorded.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn reload(asked: Asked) -> Ended {
    let Asked { site, data, dry_run, json } = asked;
    let good = crate::config::load(&site).is_ok();
    let data = data_dir(&site, data);
    // Also a bad one: the refusal belongs into the gateway's record.
    let outcome = runtime()?.block_on(door::reload(&data, door::Reload { dry_run }))?;
    let (key, said) = match &outcome {
        Ok(said) => ("difference", said),
        Err(why) => ("refused", why),
    };
    if json {
        say(&serde_json::json!({ key: said, "dry_run": dry_run }))?;
    } else if outcome.is_ok() {
        say(&format_args!("{}: {said}", site.display()))?;
    } else {
        eprintln!("{said}\nerror: refused; the configuration before stays in force");
    }
    Ok(match outcome {
        Ok(_) => GOOD,
        Err(_) if good => WRONG,
        Err(_) => CONFIG,
    })
}

pub(super) fn diff(old: &Path, new: &Path) -> Ended {
    // Problems of both are worth seeing at once.
    let (old, new) = match (load(old), load(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(status), _) | (_, Err(status)) => return Ok(status),
    };
    say(&Difference::between(&old, &new))?;
    Ok(GOOD)
}

/// What the command line says otherwise, for each time the site file is read.
pub(super) fn origin(path: &Path, overrides: Overrides) -> crate::change::Origin {
    let overrides = std::sync::Arc::new(move |site: &mut crate::config::Site| overrides.apply(site));
    crate::change::Origin::new(path.to_owned(), overrides)
}
