//! A configuration as bytes: the site file and every file it names. What a center orders a gateway to take, and what a
//! gateway keeps of the one it runs by.
//!
//! Secrets are never in it: a site file only names the files that hold them.

use minicbor::{Decode, Encode};

use crate::{RecordError, envelope, hash};

/// Bytes of a configuration, at most.
pub const CONFIGURATION_MAX: usize = 4 << 20;
/// Files beside the site file, at most.
const FILES_MAX: usize = 256;
const WHAT: &str = "configuration";

/// The site file and the packs, profiles, tables and templates it names.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Configuration {
    /// The site file.
    #[n(0)]
    pub site: String,
    /// (name as the site file says it, text), by name.
    #[n(1)]
    pub files: Vec<(String, String)>,
}

impl Configuration {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From bytes: strict, like everything signed or hashed.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > CONFIGURATION_MAX {
            return Err(RecordError::TooLarge { what: WHAT, size: bytes.len(), limit: CONFIGURATION_MAX });
        }
        let configuration: Self = envelope::decode(WHAT, bytes)?;
        let found = configuration.files.len();
        if found > FILES_MAX {
            return Err(RecordError::TooMany { what: WHAT, found, limit: FILES_MAX });
        }
        if configuration.encode() != bytes {
            let why = "it is not written the one way it may be".to_owned();
            return Err(RecordError::Content { what: WHAT, why });
        }
        let sorted = configuration.files.is_sorted_by(|(one, _), (next, _)| one < next);
        if !sorted {
            let why = "files are not in the order of their names, each once".to_owned();
            return Err(RecordError::Content { what: WHAT, why });
        }
        Ok(configuration)
    }

    /// Which configuration it is: SHA-256 of its bytes.
    pub fn id(&self) -> [u8; 32] {
        hash(&self.encode())
    }

    /// A file by its name in the site file.
    pub fn file(&self, name: &str) -> Option<&str> {
        let place = self.files.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.files.get(place).map(|(_, text)| text.as_str())
    }
}
