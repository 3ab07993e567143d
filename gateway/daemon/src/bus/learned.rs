//! What was learned about the devices of a bus, kept over restarts: a small file beside the journal.
//!
//! Losing it costs a few refused requests, so a file that cannot be read or written is said once and otherwise ignored.

use std::path::{Path, PathBuf};

use gateway_model::EngineTime;
use serde::{Deserialize, Serialize};

use super::planner::Cuts;
use crate::config::{FunctionCode, UnitId};

/// Bytes of the file, at most; [`Cuts`] are bounded far below.
const FILE_MAX: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct File {
    /// Version of this format.
    learned: u32,
    cuts: Vec<Cut>,
}

#[derive(Serialize, Deserialize)]
struct Cut {
    unit: u8,
    /// Function code, 1 to 4.
    function: u8,
    /// No request crosses the boundary before this address.
    at: u16,
    /// Engine time, ms.
    until: i64,
}

/// Cuts of a bus, and where they are kept.
#[derive(Debug, Default)]
pub struct Learned {
    path: Option<PathBuf>,
    /// Where requests are cut.
    pub cuts: Cuts,
}

impl Learned {
    /// Reads what is kept at `path`, and keeps it there from now on.
    pub fn at(path: &Path) -> Self {
        let cuts = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Cuts::default()),
            Ok(found) if found.len() > FILE_MAX => Err("it is too long".to_owned()),
            Ok(_) => {
                std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| parse(&text))
            }
            Err(error) => Err(error.to_string()),
        };
        let cuts = cuts.unwrap_or_else(|why| {
            tracing::warn!(file = %path.display(), why, "what was learned about a bus is lost; it is learned again");
            Cuts::default()
        });
        Self { path: Some(path.to_owned()), cuts }
    }

    /// Writes it, whole or not at all.
    pub fn store(&self) {
        if let Some(path) = &self.path
            && let Err(error) = write(path, &self.cuts)
        {
            tracing::warn!(file = %path.display(), %error, "what was learned about a bus is not kept");
        }
    }
}

fn parse(text: &str) -> Result<Cuts, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.learned != 1 {
        return Err(format!("version {} is not known here", file.learned));
    }
    let mut cuts = Cuts::default();
    for cut in file.cuts {
        let function = match cut.function {
            1 => FunctionCode::Coils,
            2 => FunctionCode::DiscreteInputs,
            3 => FunctionCode::HoldingRegisters,
            4 => FunctionCode::InputRegisters,
            other => return Err(format!("function {other}")),
        };
        cuts.restore(UnitId(cut.unit), function, cut.at, EngineTime(cut.until));
    }
    Ok(cuts)
}

fn write(path: &Path, cuts: &Cuts) -> std::io::Result<()> {
    let cut = |(unit, function, at, until): (UnitId, FunctionCode, u16, EngineTime)| Cut {
        unit: unit.0,
        function: function.code(),
        at,
        until: until.0,
    };
    let file = File { learned: 1, cuts: cuts.iter().map(cut).collect() };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    // Not synced: this runs on the thread of all buses, which waits for no disk. What a power cut empties is learned again.
    std::fs::write(&new, serde_json::to_vec(&file)?)?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_outlives_the_process_and_a_broken_file_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus").join("meters.json");
        let mut learned = Learned::at(&path);
        learned.cuts.add(UnitId(3), FunctionCode::InputRegisters, 12, EngineTime(5));
        learned.store();
        assert_eq!(Learned::at(&path).cuts, learned.cuts);
        for text in [
            "",
            "{}",
            "{\"learned\":2,\"cuts\":[]}",
            "{\"learned\":1,\"cuts\":[{\"unit\":1,\"function\":9,\"at\":0,\"until\":0}]}",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Learned::at(&path).cuts, Cuts::default(), "{text}");
        }
    }
}
