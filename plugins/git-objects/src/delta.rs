//! Deltas: an object told as copies out of another one, its base, and bytes of its own (gitformat-pack(5)).

/// The delta is none, or not one of this base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delta is malformed")]
pub struct Malformed;

/// The size in bytes that the delta claims for its result, and the result piece by piece; together the pieces have that
/// size, or the last one is an error. Nothing is copied: a delta of a few bytes may have a result of any size.
pub fn apply<'a>(base: &'a [u8], delta: &'a [u8]) -> Result<(u64, Pieces<'a>), Malformed> {
    let mut rest = delta;
    if size(&mut rest)? != base.len() as u64 {
        return Err(Malformed);
    }
    let size = size(&mut rest)?;
    Ok((size, Pieces { base, rest, left: size }))
}

/// The result of a delta.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    base: &'a [u8],
    rest: &'a [u8],
    left: u64,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() && self.left == 0 {
            return None;
        }
        let piece = self.piece();
        if piece.is_err() {
            (self.rest, self.left) = (&[], 0);
        }
        Some(piece)
    }
}

impl<'a> Pieces<'a> {
    fn piece(&mut self) -> Result<&'a [u8], Malformed> {
        let instruction = byte(&mut self.rest)?;
        let piece = if instruction & 0x80 != 0 {
            self.copied(instruction)?
        } else {
            // Zero is reserved.
            let length = if instruction == 0 { return Err(Malformed) } else { usize::from(instruction) };
            self.rest.split_off(..length).ok_or(Malformed)?
        };
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(Malformed)?;
        Ok(piece)
    }

    /// The bits of the instruction tell which bytes of the place and the length follow; the others are zero.
    fn copied(&mut self, instruction: u8) -> Result<&'a [u8], Malformed> {
        let mut number = |bits: std::ops::Range<u8>| {
            let mut number = 0_usize;
            for (place, bit) in bits.enumerate() {
                if instruction & (1 << bit) != 0 {
                    number |= usize::from(byte(&mut self.rest)?) << (8 * place);
                }
            }
            Ok(number)
        };
        let (start, length) = (number(0..4)?, number(4..7)?);
        let length = if length == 0 { 0x10000 } else { length };
        let end = start.checked_add(length).ok_or(Malformed)?;
        self.base.get(start..end).ok_or(Malformed)
    }
}

/// A number of seven bits a byte, the lowest ones first.
fn size(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let (mut size, mut shift) = (0_u64, 0);
    loop {
        let byte = byte(rest)?;
        if shift > 56 {
            return Err(Malformed);
        }
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8, Malformed> {
    rest.split_off_first().copied().ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &[u8] = b"0123456789";

    fn result(delta: &[u8]) -> Result<Vec<u8>, Malformed> {
        let (size, pieces) = apply(BASE, delta)?;
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?.concat();
        assert_eq!(pieces.len() as u64, size);
        Ok(pieces)
    }

    #[test]
    fn copies_and_own_bytes() {
        let check = |delta: &[u8], expected: Option<&[u8]>| {
            assert_eq!(result(delta).ok().as_deref(), expected, "{delta:x?}");
        };
        check(&[10, 0], Some(b""));
        check(&[10, 2, 2, b'a', b'b'], Some(b"ab"));
        check(&[10, 5, 0b1001_0001, 7, 3, 2, b'a', b'b'], Some(b"789ab"));
        check(&[10, 3, 0b1001_0000, 3], Some(b"012"));
        // Sizes that lie, in both directions.
        check(&[10, 4, 0b1001_0000, 3], None);
        check(&[10, 2, 0b1001_0000, 3], None);
        check(&[9, 3, 0b1001_0000, 3], None);
        // Outside of the base, or of the delta.
        check(&[10, 3, 0b1001_0001, 8, 3], None);
        check(&[10, 0x80, 0x80, 4, 0x80], None);
        check(&[10, 3, 0b1111_1111, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None);
        check(&[10, 3, 3, b'a'], None);
        check(&[10, 1, 0], None);
        check(&[10, 1, 1, b'a', 1], None);
        check(&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], None);
        check(&[10], None);
        check(&[], None);
    }
}
