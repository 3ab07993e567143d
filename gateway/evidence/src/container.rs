//! The file that a bundle is: a tar archive (POSIX ustar) that anybody can unpack, of which one writing is allowed.
//!
//! Every byte is either a file's or follows from names and sizes, so that none can be changed unseen: headers are
//! compared with the one header that belongs there, padding is zero, and nothing stands behind the end.

/// Blocks of a tar archive.
const BLOCK: usize = 512;
/// Files of one bundle, at most.
pub(crate) const FILES_MAX: usize = 1_000;
/// Bytes of a name, at most.
const NAME_MAX: usize = 99;

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File<'b> {
    /// Its name.
    pub(crate) name: &'b str,
    /// Its bytes.
    pub(crate) bytes: &'b [u8],
}

/// Where the archive is not what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Offset in the file.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) fault: &'static str,
}

/// The files up to the first fault, and that fault.
pub(crate) fn read(bytes: &[u8]) -> (Vec<File<'_>>, Option<Fault>) {
    let mut files: Vec<File> = Vec::new();
    let mut at = 0;
    loop {
        match next(bytes, at) {
            Ok(Some((file, _))) if files.iter().any(|known| known.name == file.name) => {
                return (files, Some(Fault { at, fault: "a file for the second time" }));
            }
            Ok(Some(_)) if files.len() == FILES_MAX => {
                return (files, Some(Fault { at, fault: "too many files" }));
            }
            Ok(Some((file, end))) => {
                files.push(file);
                at = end;
            }
            Ok(None) => return (files, None),
            Err(fault) => return (files, Some(fault)),
        }
    }
}

/// The file whose header stands at `at`, and where the next one stands; `None` at the end.
fn next(bytes: &[u8], at: usize) -> Result<Option<(File<'_>, usize)>, Fault> {
    let cut = Fault { at, fault: "the archive ends too early" };
    let header = bytes.get(at..at + BLOCK).ok_or(cut)?;
    if header.iter().all(|byte| *byte == 0) {
        let end = bytes.get(at..).ok_or(cut)?;
        let two = end.len() == 2 * BLOCK && end.iter().all(|byte| *byte == 0);
        return if two { Ok(None) } else { Err(Fault { at, fault: "the end is not two empty blocks" }) };
    }
    let wrong = |fault| Fault { at, fault };
    let name = header[..=NAME_MAX].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).map_err(|_| wrong("a name that is not UTF-8"))?;
    let digits = std::str::from_utf8(&header[124..135]).map_err(|_| wrong("a size that is no number"))?;
    let size = usize::from_str_radix(digits, 8).map_err(|_| wrong("a size that is no number"))?;
    if header != header_of(name, size) {
        return Err(wrong("not the header that belongs to this name and size"));
    }
    let start = at + BLOCK;
    let content = start.checked_add(size).and_then(|end| bytes.get(start..end)).ok_or(cut)?;
    let end = start + size.next_multiple_of(BLOCK);
    let padding = bytes.get(start + size..end).ok_or(cut)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(Fault { at: start + size, fault: "padding that is not zero" });
    }
    Ok(Some((File { name, bytes: content }, end)))
}

/// Writes files as the one archive that holds them.
pub(crate) fn write<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend_from_slice(&header_of(name, bytes.len()));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// The only header that a file of this name and size may have: mode 0644, owner and time 0.
fn header_of(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        header
            .get_mut(at..at + text.len())
            .into_iter()
            .for_each(|place| place.copy_from_slice(text.as_bytes()));
    };
    put(0, name.get(..name.len().min(NAME_MAX)).unwrap_or_default());
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    // The checksum is counted as if it were eight spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_every_other_byte_is_a_fault() {
        let bytes = write([("a", &b"first"[..]), ("b/c", &[7; 512][..]), ("empty", b"")]);
        let (files, fault) = read(&bytes);
        assert_eq!(fault, None);
        assert_eq!(files.iter().map(|file| file.name).collect::<Vec<_>>(), ["a", "b/c", "empty"]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let (found, fault) = read(&changed);
            assert!(fault.is_some() || found != files, "byte {at}");
        }
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).1.is_some(), "cut at {end}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).1.is_some());
    }
}
