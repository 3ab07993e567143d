//! The packs that come with the program.

use crate::problem::Source;

macro_rules! packs {
    ($($name:literal),* $(,)?) => {
        /// Every pack that comes with the program, as it was when the program was built.
        pub fn embedded_packs() -> Vec<Source> {
            vec![$(Source {
                name: concat!("packs/", $name, ".toml").to_owned(),
                text: include_str!(concat!("../../packs/", $name, ".toml")).to_owned(),
            }),*]
        }
    };
}

packs!(
    "cold-chain",
    "dental-clinic",
    "disinfection-cabinet",
    "gateway-self",
    "medical-waste",
    "sterilizer",
    "uv-lamp",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::render;
    use crate::read::parse_pack;

    #[test]
    fn every_embedded_pack_is_sound_and_speaks_both_languages() {
        let sources = embedded_packs();
        for source in &sources {
            let pack = parse_pack(source)
                .unwrap_or_else(|problems| panic!("{}", render(&problems, &sources, false)));
            assert_eq!(source.name, format!("packs/{}.toml", pack.name));
            for rule in &pack.rules {
                let text = &rule.text;
                for words in [&text.title, &text.sentence, &text.action, &text.norm] {
                    let chinese = words.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
                    assert!(
                        chinese || words.zh.chars().any(char::is_numeric),
                        "{}/{}: {words:?}",
                        pack.name,
                        rule.name
                    );
                    let foreign = words.en.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
                    assert!(!foreign && !words.en.is_empty(), "{}/{}: {words:?}", pack.name, rule.name);
                }
            }
        }
    }

    /// Values are filled in as bare numbers.
    #[test]
    fn every_number_in_a_text_is_followed_by_its_unit() {
        for source in embedded_packs() {
            for (place, with_unit) in [("{value}", "{unit}"), ("{limit}", "{unit}"), ("{peak}", "°C")] {
                for (at, _) in source.text.match_indices(place) {
                    let (before, after) = (&source.text[..at], &source.text[at + place.len()..]);
                    // A unit id is no quantity.
                    let address = before.ends_with("unit id ") || after.starts_with("号地址");
                    let followed = after.trim_start().starts_with(with_unit);
                    assert!(followed || address, "{}: {place}{after:.20}", source.name);
                }
            }
        }
    }

    /// `users.md` D: words that mean something else in law or in the trade.
    #[test]
    fn no_text_uses_a_word_with_the_wrong_legal_weight() {
        for source in embedded_packs() {
            for word in ["报警", "结案", "案件", "搁置", "屏蔽", "申诉", "移送"] {
                assert!(!source.text.contains(word), "{} says {word}", source.name);
            }
        }
    }
}
