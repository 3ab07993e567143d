//! Text in the two languages of the product.

use alloc::string::String;

use minicbor::{Decode, Encode};

/// The same words in Chinese and English. Rule texts may hold `{value}`, `{limit}`, `{unit}`, `{device}`,
/// `{point}`, `{peak}`, `{hold}`, `{duration}` and `{labels}`, filled in where they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Text {
    /// Chinese, the first language.
    #[n(0)]
    pub zh: String,
    /// English.
    #[n(1)]
    pub en: String,
}
