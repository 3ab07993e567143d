//! Whole recordings: written line by line to anything, read line by line from anything; `.zst` is compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use super::{Head, LINE_MAX, Line, VERSION, VERSION_OLDEST};

/// Compression level of a `.zst`: zstd's own default.
const LEVEL: i32 = 3;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file, or its compression.
    #[error("cannot read the recording, line {line}")]
    Io {
        /// From 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The first line is another thing.
    #[error("line 1: the first line of a recording is {{\"recording\":{VERSION},\"from\":…}}: {0}")]
    Head(String),
    /// A version this program does not know.
    #[error("line 1: recordings of version {0} are not replayed here, only of versions {VERSION_OLDEST} to {VERSION}{hint}", hint = if *.0 == 1 { " (version 1 is a polled history: feed it to a gateway)" } else { "" })]
    Version(u32),
    /// A line that is not understood.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// In words.
        what: String,
    },
}

/// Does this name ask for compression?
fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// Lines of a recording, one after the other.
pub struct Reader {
    /// The first line.
    pub head: Head,
    from: Box<dyn BufRead + Send>,
    line: u64,
}

impl Reader {
    /// Opens a file; `.zst` is expanded.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { line: 1, source };
        let file = File::open(path).map_err(io)?;
        if is_zstd(path) {
            let plain = zstd::stream::read::Decoder::new(file).map_err(io)?;
            Self::new(BufReader::new(plain))
        } else {
            Self::new(BufReader::new(file))
        }
    }

    /// Reads the first line of anything.
    pub fn new(from: impl BufRead + Send + 'static) -> Result<Self, ReadError> {
        let mut from: Box<dyn BufRead + Send> = Box::new(from);
        let text = read_line(&mut from, 1)?.unwrap_or_default();
        let version = serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| ReadError::Head(error.to_string()))?
            .get("recording")
            .and_then(serde_json::Value::as_u64)
            .ok_or_else(|| ReadError::Head("no number `recording`".to_owned()))?;
        if !(u64::from(VERSION_OLDEST)..=u64::from(VERSION)).contains(&version) {
            return Err(ReadError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let head: Head = serde_json::from_str(&text).map_err(|error| ReadError::Head(error.to_string()))?;
        for bus in &head.buses {
            bus.clone().check().map_err(ReadError::Head)?;
        }
        Ok(Self { head, from, line: 1 })
    }
}

impl Iterator for Reader {
    type Item = Result<(u64, Line), ReadError>;

    /// The next line and its number; empty lines are passed over.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line += 1;
            match read_line(&mut self.from, self.line) {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some(text)) if text.trim().is_empty() => {}
                Ok(Some(text)) => {
                    let line = self.line;
                    let wrong = |what| {
                        // A last line without its end was being written when its writer was killed.
                        if text.ends_with('\n') {
                            ReadError::Line { line, what }
                        } else {
                            let source = io::Error::new(io::ErrorKind::UnexpectedEof, what);
                            ReadError::Io { line, source }
                        }
                    };
                    return Some(Line::parse(&text).map(|it| (line, it)).map_err(wrong));
                }
            }
        }
    }
}

fn read_line(from: &mut impl BufRead, line: u64) -> Result<Option<String>, ReadError> {
    let mut text = String::new();
    let limit = LINE_MAX as u64 + 1;
    let bytes = from.take(limit).read_line(&mut text).map_err(|source| ReadError::Io { line, source })?;
    if bytes as u64 == limit {
        return Err(ReadError::Line { line, what: format!("longer than {LINE_MAX} bytes") });
    }
    Ok((bytes > 0).then_some(text))
}

/// Where lines go: it is plain or compressed, and counted.
pub struct Writer {
    to: Sink,
    /// Bytes of text so far, before compression.
    pub bytes: u64,
    /// Lines so far, the first one included.
    pub lines: u64,
}

enum Sink {
    Plain(Box<dyn Write + Send>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Writer {
    /// A new file; one that is there already is not touched.
    pub fn create(path: &Path, head: &Head) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let to = if is_zstd(path) {
            Sink::Zstd(zstd::stream::write::Encoder::new(BufWriter::new(file), LEVEL)?)
        } else {
            Sink::Plain(Box::new(BufWriter::new(file)))
        };
        Self::begin(to, head)
    }

    /// Anything that takes bytes.
    pub fn new(to: impl Write + Send + 'static, head: &Head) -> io::Result<Self> {
        Self::begin(Sink::Plain(Box::new(to)), head)
    }

    fn begin(to: Sink, head: &Head) -> io::Result<Self> {
        let mut writer = Self { to, bytes: 0, lines: 0 };
        writer.put(&serde_json::to_string(head).map_err(io::Error::other)?)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a line.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        self.put(&line.text())
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let to: &mut dyn Write = match &mut self.to {
            Sink::Plain(to) => to,
            Sink::Zstd(to) => to,
        };
        to.write_all(text.as_bytes())?;
        to.write_all(b"\n")?;
        self.bytes += text.len() as u64 + 1;
        self.lines += 1;
        Ok(())
    }

    /// Hands what is held to the system: a kill after it loses nothing before it.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            Sink::Plain(to) => to.flush(),
            Sink::Zstd(to) => to.flush(),
        }
    }

    /// Ends the file; without it a compressed one is incomplete (and still readable up to the last flush).
    pub fn finish(self) -> io::Result<()> {
        match self.to {
            Sink::Plain(mut to) => to.flush(),
            Sink::Zstd(to) => to.finish()?.flush(),
        }
    }
}
