//! The contract between gateway and center: signed records, receipts, tokens, enrolment, orders.
//!
//! One format from flash to court: a *record* is a COSE_Sign1 over CBOR (`docs/records.md` describes the
//! bytes for those who cannot run this code). What was signed is kept and forwarded byte for byte; nothing here
//! encodes a record a second time. Everything that comes from outside is read strictly ([`RecordError`] says what
//! was wrong and where) and every size has a limit.
//!
//! Leaves out: files, sockets, clocks, randomness (callers bring key bytes and times), and any judgement of what
//! a record says.

mod batch;
mod body;
mod columns;
mod configuration;
mod counts;
mod enrol;
mod envelope;
mod error;
mod key;
mod manifest;
mod order;
mod parts;
mod receipt;
mod record;
mod ring;
mod strict;
mod token;
mod varint;

pub use batch::{BATCH_TYPE, pack, unpack};
pub use body::{
    Body, CONTENT_MAX, ConclusionsBody, ConfigBody, FRAME_MAX, Frame, InputsBody, Kind, NotUnderstood,
};
pub use columns::ITEMS_MAX;
pub use configuration::{CONFIGURATION_MAX, Configuration};
pub use enrol::{
    EnrolAnswer, EnrolCode, EnrolRequest, Enrolment, Fingerprint, Identity, KeyHistory, TLS_KEYS_MAX,
};
pub use envelope::decode;
pub use error::{RecordError, hex, unhex, unhex_any};
pub use key::{SigningKey, VerifyingKey};
pub use manifest::{FileRef, Maker, Manifest};
pub use order::{Order, pack_orders, unpack_orders};
pub use parts::{
    Head, Joiner, PART_MAX, Part, Parted, PartedKind, WHOLE_MAX, check_plan, parts_behind, whole_at,
};
pub use receipt::{
    EPOCHS_MAX, EpochReceipt, RANGES_MAX, Receipt, Refused, SURVEY_MAX, Survey, SurveyRequest,
};
pub use record::{Header, Opened, RECORD_MAX, RECORD_TYPE, Record, hash, open, peek, reread, seal};
pub use ring::{KEYS_MAX, KeyPeriod, KeyRing, Standing, Succession, SuccessionCause};
pub use token::{TOKEN_LIFE_MS, Token, TokenError};
