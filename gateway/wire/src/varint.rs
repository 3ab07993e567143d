//! Numbers in columns: LEB128 (seven bits a byte, lowest first, top bit = more follow), signed ones zig-zagged.

/// Appends an unsigned number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number: 0, -1, 1, -2 … become 0, 1, 2, 3 …
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, zigzag(number));
}

/// How many bytes [`put_signed`] takes.
pub(crate) fn signed_len(number: i64) -> usize {
    (64 - zigzag(number).leading_zeros() as usize).div_ceil(7).max(1)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Reads columns off a slice; every fault is in words.
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.bytes.split_first().ok_or("a column ends too early")?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next unsigned number, in its shortest form.
    pub(crate) fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err("a number beyond 64 bits");
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err("a number not in its shortest form")
                } else {
                    Ok(number)
                };
            }
        }
        Err("a number beyond 64 bits")
    }

    /// The next signed number.
    pub(crate) fn signed(&mut self) -> Result<i64, &'static str> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number of things, each of which takes at least a byte of what follows.
    pub(crate) fn count(&mut self) -> Result<usize, &'static str> {
        let count = usize::try_from(self.number()?).map_err(|_| "a count beyond the bytes")?;
        if count > self.bytes.len() { Err("a count beyond the bytes") } else { Ok(count) }
    }

    /// A small number that has to fit its type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, &'static str> {
        T::try_from(self.number()?).map_err(|_| "a number out of range")
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), &'static str> {
        if self.bytes.is_empty() { Ok(()) } else { Err("bytes after the last column") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back() {
        let numbers = [0, 1, -1, 63, -64, 64, 8191, -8192, i64::MAX, i64::MIN];
        for number in numbers {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, number);
            assert_eq!(bytes.len(), signed_len(number), "{number}");
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.signed(), Ok(number));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn padded_and_endless_numbers_are_refused() {
        assert_eq!(Reader::new(&[0x80, 0x00]).number(), Err("a number not in its shortest form"));
        assert_eq!(Reader::new(&[0xff; 10]).number(), Err("a number beyond 64 bits"));
        assert_eq!(Reader::new(&[0x80]).number(), Err("a column ends too early"));
        assert_eq!(Reader::new(&[0x05, 0x00]).count(), Err("a count beyond the bytes"));
    }
}
