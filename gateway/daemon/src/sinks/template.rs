//! A body of one's own: JSON with `{{field}}` where something is filled in.
//!
//! Strict: known fields only, and the result is JSON whatever the values are. Inside a JSON text `{{field}}` becomes
//! escaped text, elsewhere a JSON value (text with its quotes, a number, `null` where there is none). There are no conditions,
//! loops or calls. `{{` has no other meaning, and none of its own in JSON outside of texts.

use serde_json::{Map, Value};

/// Bytes of a template.
pub const TEMPLATE_MAX: usize = 16 * 1024;

/// A template that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { name: String, quoted: bool },
}

/// What is wrong with a template, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Bytes from its start.
    pub at: usize,
    /// How many bytes are meant.
    pub length: usize,
    /// In words.
    pub message: String,
    /// The name that was not known, if that is it.
    pub unknown: Option<String>,
}

impl Template {
    /// Reads a template that may name these fields.
    pub fn parse(text: &str, fields: &[&str]) -> Result<Self, TemplateError> {
        let wrong =
            |at: usize, length: usize, message: String| TemplateError { at, length, message, unknown: None };
        if text.len() > TEMPLATE_MAX {
            return Err(wrong(0, 1, format!("a template has at most {TEMPLATE_MAX} bytes")));
        }
        let (mut parts, mut quoted, mut at) = (Vec::new(), false, 0);
        while let Some(open) = text[at..].find("{{").map(|open| at + open) {
            let before = &text[at..open];
            quoted = in_text(before, quoted);
            parts.push(Part::Text(before.to_owned()));
            let Some(close) = text[open..].find("}}").map(|close| open + close) else {
                return Err(wrong(open, 2, "`{{` without `}}`".to_owned()));
            };
            let name = text[open + 2..close].trim();
            if !fields.contains(&name) {
                let message = format!("there is no field `{name}`");
                let unknown = Some(name.to_owned());
                return Err(TemplateError { unknown, ..wrong(open, close + 2 - open, message) });
            }
            parts.push(Part::Field { name: name.to_owned(), quoted });
            at = close + 2;
        }
        parts.push(Part::Text(text[at..].to_owned()));
        let template = Self { parts };
        let sample: Map<String, Value> =
            fields.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        serde_json::from_str::<Value>(&template.render(&sample)).map_err(|error| {
            let message = format!("what results is not JSON: {}", words(&error));
            wrong(template.place(error.line(), error.column(), &sample), 1, message)
        })?;
        Ok(template)
    }

    /// Filled in; a field that is not there is `null`, or nothing inside a text.
    pub fn render(&self, fields: &Map<String, Value>) -> String {
        self.parts.iter().map(|part| rendered(part, fields)).collect()
    }

    /// Where in the template a place of the result comes from.
    fn place(&self, line: usize, column: usize, fields: &Map<String, Value>) -> usize {
        let whole = self.render(fields);
        let start: usize = whole.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let wanted = (start + column.saturating_sub(1)).min(whole.len());
        let (mut result, mut source) = (0, 0);
        for part in &self.parts {
            let length = rendered(part, fields).len();
            let width = match part {
                Part::Text(text) => text.len(),
                Part::Field { name, .. } => name.len() + 4,
            };
            if wanted < result + length {
                return source + (wanted - result).min(width);
            }
            (result, source) = (result + length, source + width);
        }
        source.saturating_sub(1)
    }
}

fn rendered(part: &Part, fields: &Map<String, Value>) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Field { name, quoted: false } => fields.get(name).unwrap_or(&Value::Null).to_string(),
        Part::Field { name, quoted: true } => match fields.get(name).unwrap_or(&Value::Null) {
            Value::Null => String::new(),
            Value::String(text) => {
                let written = Value::from(text.as_str()).to_string();
                written[1..written.len() - 1].to_owned()
            }
            // Numbers and truths need no escape; lists and objects are none of ours.
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string().replace(['"', '\\'], "")
            }
        },
    }
}

/// Does a JSON text that begins so end inside a string?
fn in_text(json: &str, mut quoted: bool) -> bool {
    let mut escaped = false;
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

/// serde_json ends its words with a place that means nothing to the reader of the template.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: &[&str] = &["title", "value", "since"];

    fn filled(title: &str, value: Option<f64>) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("title".into(), title.into());
        fields.insert("value".into(), value.into());
        fields
    }

    #[test]
    fn text_is_escaped_and_values_keep_their_kind() {
        let template = Template::parse(
            r#"{"text": {"content": "!! {{title}} ({{ value }})"}, "raw": {{title}}, "n": {{value}}, "s": {{since}}}"#,
            FIELDS,
        )
        .unwrap();
        assert_eq!(
            template.render(&filled("a \"b\"\n\\", Some(25.5))),
            r#"{"text": {"content": "!! a \"b\"\n\\ (25.5)"}, "raw": "a \"b\"\n\\", "n": 25.5, "s": null}"#
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = Template::parse(r#"{"a": "{{titel}}"}"#, FIELDS).unwrap_err();
        assert_eq!((error.at, error.length, error.unknown.as_deref()), (7, 9, Some("titel")));
        let error = Template::parse(r#"{"a": "{{title"}"#, FIELDS).unwrap_err();
        assert_eq!((error.at, error.message.as_str()), (7, "`{{` without `}}`"));
        let error = Template::parse(r#"{"a": {{title}}, b}"#, FIELDS).unwrap_err();
        assert!(error.message.starts_with("what results is not JSON: "), "{error:?}");
        assert_eq!(error.at, 17);
        assert!(Template::parse("", FIELDS).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_filled_in_the_result_is_json(title in ".{0,40}", value in any::<f64>()) {
            let template = Template::parse(r#"{"in {{title}}": "<{{title}}|{{value}}>", "out": [{{title}}, {{value}}]}"#, FIELDS).unwrap();
            let value = Some(value).filter(|value| value.is_finite());
            let written = template.render(&filled(&title, value));
            let read: Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read["out"][0].as_str().unwrap(), title.as_str());
            let number = written.rsplit(", ").next().unwrap().strip_suffix("]}").unwrap();
            prop_assert_eq!(number.parse::<f64>().ok(), value);
            let key = format!("in {title}");
            prop_assert!(read.get(key.as_str()).is_some());
        }

        #[test]
        fn no_text_makes_the_reader_fail(text in "(\\PC|\\{\\{|\\}\\}|\"|title|\\\\){0,30}") {
            if let Err(error) = Template::parse(&text, FIELDS) {
                prop_assert!(error.at <= text.len());
            }
        }
    }
}
