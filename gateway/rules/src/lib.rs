//! Rule packs: TOML with conditions in a subset of CEL, in; typed, unit-checked rules of a plan, or every
//! problem with its line and caret, out.
//!
//! - [`parse_pack`] reads one pack and checks all of it that can be checked without a site.
//! - [`bind()`] applies a pack to one device of a site: names become slots, constants the points' units.
//! - [`bind_unevaluable`] makes the rules that say "cannot be judged" for devices and buses.
//! - [`File`], [`Table`] and [`render`] are the reader and the error pages; the site file uses them too.
//!
//! Leaves out: running anything. Pack tests are parsed into data ([`PackTest`]); whoever has the engine runs them.

mod bind;
mod document;
mod example;
mod expression;
mod facts;
mod handling;
mod hours;
mod module;
mod pack;
mod packs;
mod problem;
mod quantity;
mod read;
mod reference;
mod rule;
mod series;
mod suggest;
mod windows;

pub use bind::{
    Bound, Neighbour, Neighbours, Placed, Setting, Settings, Subject, bind, bind_unevaluable, known_settings,
};
pub use document::{At, File, FromToml, Table};
pub use expression::{
    Binary, Compiled, Expression, Function, Kind, LENGTH_MAX, NESTING_MAX, Scope, Symbol, Trouble, Unary,
    compile, parse as parse_expression,
};
pub use handling::{PackHandling, PackStep};
pub use hours::{day, read_hours};
pub use module::{PackComputes, PackCounts, PackNamed};
pub use pack::{
    Pack, PackModule, PackNeighbour, PackParameter, PackPoint, PackProgram, PackRule, PackStop, PackStuck,
    PackSubject, Watch,
};
pub use packs::embedded_packs;
pub use problem::{Problem, Severity, Source, render};
pub use quantity::{Millis, Quantity, SelfFix, convert};
pub use read::parse_pack;
pub use reference::{Language, REFERENCE, reference};
pub use series::{Expectation, ExpectedState, PackTest, Sample};
pub use suggest::did_you_mean;
pub use windows::Windows;
