//! What a verification says: a line per question, each with an answer, and one word for all of them.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// Findings told one by one on each line; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Bundles of this version claim nothing of the kind.
    Nothing,
    /// As it has to be.
    Ok,
    /// It could not be checked, or not all of it.
    Incomplete,
    /// It is wrong.
    Failed,
}

impl Status {
    /// As printed.
    pub fn code(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// All of it in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was checked and is right.
    Valid,
    /// Something is wrong.
    Invalid,
    /// Nothing is wrong, but not everything could be checked.
    Incomplete,
}

impl Outcome {
    /// As printed.
    pub fn code(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Something wrong or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in a word that never changes.
    pub code: &'static str,
    /// Where: a record (`epoch/seq`), a file, a device.
    pub at: String,
    /// In words.
    pub text: String,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the JSON: `identity`, `signatures` …
    pub name: &'static str,
    /// The answer.
    pub status: Status,
    /// What was counted.
    pub facts: Map<String, Value>,
    /// What is wrong or missing; the first hundred.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
    /// The answer in a sentence.
    pub say: String,
}

impl Line {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            status: Status::Ok,
            facts: Map::new(),
            findings: Vec::new(),
            more: 0,
            say: String::new(),
        }
    }

    /// A question that bundles of this version do not answer.
    pub(crate) fn nothing(name: &'static str, say: &str) -> Self {
        Self { status: Status::Nothing, say: say.to_owned(), ..Self::new(name) }
    }

    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Wrong.
    #[expect(clippy::needless_pass_by_value, reason = "places are short, and callers make them on the spot")]
    pub(crate) fn fail(&mut self, code: &'static str, at: impl ToString, text: impl Into<String>) {
        self.note(Status::Failed, code, at.to_string(), text.into());
    }

    /// Cannot be checked.
    #[expect(clippy::needless_pass_by_value, reason = "places are short, and callers make them on the spot")]
    pub(crate) fn lack(&mut self, code: &'static str, at: impl ToString, text: impl Into<String>) {
        self.note(Status::Incomplete, code, at.to_string(), text.into());
    }

    fn note(&mut self, status: Status, code: &'static str, at: String, text: String) {
        self.status = self.status.max(status);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { code, at, text });
        } else {
            self.more += 1;
        }
    }

    fn json(&self) -> Value {
        let findings: Vec<Value> =
            self.findings.iter().map(|finding| json!({"code": finding.code, "at": finding.at})).collect();
        json!({
            "line": self.name, "status": self.status.code(), "facts": self.facts, "findings": findings, "more": self.more,
        })
    }
}

/// The answers to all questions, always the same ones in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One each.
    pub lines: Vec<Line>,
}

impl Report {
    /// In one word. Whatever could not be checked makes the whole incomplete.
    pub fn outcome(&self) -> Outcome {
        match self.lines.iter().map(|line| line.status).max() {
            Some(Status::Failed) => Outcome::Invalid,
            Some(Status::Ok | Status::Nothing) => Outcome::Valid,
            Some(Status::Incomplete) | None => Outcome::Incomplete,
        }
    }

    /// A line by its name.
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// For programs: `docs/verify.schema.json`.
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({"format": 1, "verdict": self.outcome().code(), "lines": lines})
    }

    /// For people.
    pub fn text(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = String::new();
        for line in &self.lines {
            let mut name = line.name.to_owned();
            name.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
            writeln!(text, "{name:<14} {:<10} {}", line.status.code().to_uppercase(), line.say)
                .unwrap_or_default();
            for finding in &line.findings {
                let place = if finding.at.is_empty() { String::new() } else { format!("{}: ", finding.at) };
                writeln!(text, "{:<25} {place}{}", "", finding.text).unwrap_or_default();
            }
            if line.more > 0 {
                writeln!(text, "{:<25} and {} more", "", line.more).unwrap_or_default();
            }
        }
        writeln!(text, "\n{}", self.outcome().code().to_uppercase()).unwrap_or_default();
        text
    }
}
