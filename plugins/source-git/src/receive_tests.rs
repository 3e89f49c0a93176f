//! Packs made by hand: every kind of entry in every order, and bytes that are none.

use std::io::Write;

use super::*;

/// A pack in the making.
#[derive(Default)]
struct Packer {
    bytes: Vec<u8>,
    count: u32,
}

impl Packer {
    fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), count: 0 }
    }

    /// Adds an entry, with whatever stands between its header and its content; returns where it begins.
    fn add(&mut self, kind: u8, between: &[u8], content: &[u8]) -> u64 {
        self.add_lying(kind, between, content, content.len() as u64)
    }

    fn add_lying(&mut self, kind: u8, between: &[u8], content: &[u8], mut size: u64) -> u64 {
        let offset = self.bytes.len() as u64;
        let mut byte = kind << 4 | (size & 0x0f) as u8;
        size >>= 4;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend(between);
        let mut deflated = flate2::write::ZlibEncoder::new(&mut self.bytes, flate2::Compression::fast());
        deflated.write_all(content).unwrap();
        deflated.finish().unwrap();
        self.count += 1;
        offset
    }

    fn add_offset_delta(&mut self, base: u64, delta: &[u8]) -> u64 {
        let mut back = self.bytes.len() as u64 - base;
        let mut distance = vec![(back & 0x7f) as u8];
        while back > 0x7f {
            back = (back >> 7) - 1;
            distance.insert(0, (back & 0x7f) as u8 | 0x80);
        }
        self.add(6, &distance, delta)
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
        self.bytes.extend([0; CHECKSUM_BYTES]);
        self.bytes
    }
}

fn blob_id(content: &[u8]) -> ObjectId {
    let mut hasher = hasher(Kind::Blob, content.len() as u64);
    hasher.update(content);
    finish(hasher).unwrap()
}

/// All of the base but its last byte, and then these.
fn delta(base: &[u8], end: &[u8]) -> Vec<u8> {
    let copied = base.len() - 1;
    let mut delta = vec![base.len() as u8, (copied + end.len()) as u8, 0b1001_0000, copied as u8, end.len() as u8];
    delta.extend(end);
    delta
}

fn unpacked(bytes: &[u8]) -> Result<Pack> {
    let scratch = tempfile::tempdir().unwrap();
    receive(&mut &*bytes, scratch.path(), |_, _| {})
}

#[track_caller]
fn check_has(pack: &mut Pack, contents: &[&[u8]]) {
    for content in contents {
        assert_eq!(pack.content(&blob_id(content), Kind::Blob, 1_000).unwrap(), *content);
    }
}

const A: &[u8] = b"the content of a";
const B: &[u8] = b"the content of b";
const BC: &[u8] = b"the content of bc";

#[test]
fn whole_objects_and_deltas_of_both_kinds() {
    let mut packer = Packer::new();
    let a = packer.add(3, b"", A);
    let b = packer.add_offset_delta(a, &delta(A, b"b"));
    packer.add_offset_delta(b, &delta(B, b"bc"));
    packer.add(7, blob_id(A).as_slice(), &delta(A, b"d"));
    packer.add(3, b"", b"");
    check_has(&mut unpacked(&packer.finish()).unwrap(), &[A, B, BC, b"the content of d", b""]);
}

#[test]
fn bases_after_their_deltas() {
    let mut packer = Packer::new();
    packer.add(7, blob_id(B).as_slice(), &delta(B, b"bc"));
    packer.add(7, blob_id(A).as_slice(), &delta(A, b"b"));
    packer.add(3, b"", A);
    check_has(&mut unpacked(&packer.finish()).unwrap(), &[A, B, BC]);
}

#[test]
fn the_same_objects_several_times() {
    let mut packer = Packer::new();
    for _ in 0..3 {
        packer.add(3, b"", A);
        packer.add(7, blob_id(A).as_slice(), &delta(A, b"b"));
        packer.add(7, blob_id(B).as_slice(), &delta(B, b"a"));
    }
    check_has(&mut unpacked(&packer.finish()).unwrap(), &[A, B]);
}

#[test]
fn a_chain_of_any_length() {
    let mut packer = Packer::new();
    let mut last = packer.add(3, b"", b"0");
    let mut content = b"0".to_vec();
    for number in 0..20_000_u32 {
        let next = number.to_be_bytes();
        let mut delta = vec![content.len() as u8, 4, 4];
        delta.extend(next);
        last = packer.add_offset_delta(last, &delta);
        content = next.to_vec();
    }
    check_has(&mut unpacked(&packer.finish()).unwrap(), &[&content]);
}

#[test]
fn what_is_no_pack() {
    let check = |bytes: Vec<u8>, expected: &str| {
        let failure = unpacked(&bytes).err().map(|failure| failure.message).unwrap_or_default();
        assert!(failure.contains(expected), "{failure:?} does not say {expected:?}");
    };
    let one = |add: &dyn Fn(&mut Packer) -> u64| {
        let mut packer = Packer::new();
        add(&mut packer);
        packer.finish()
    };
    check(b"not a pack, but as long as one".to_vec(), "does not begin like one");
    check(b"PACK\0\0\0\x02\xff\xff\xff\xff".to_vec(), "4294967295 objects, and 1000000 are allowed (objects_max)");
    check(b"PACK\0\0".to_vec(), "breaks off");
    check(one(&|packer| packer.add(5, b"", A)), "unknown kind");
    check(one(&|packer| packer.add_lying(3, b"", A, 15)), "larger than it says");
    check(one(&|packer| packer.add_lying(3, b"", A, 17)), "smaller than it says");
    check(one(&|packer| packer.add_lying(3, b"", A, 1 << 40)), "(unpacked_bytes_max)");
    check(one(&|packer| packer.add_lying(6, b"\x01", A, 1 << 40)), "(delta_bytes_max)");
    check(one(&|packer| packer.add(6, b"\x7f", b"")), "before its start");
    check(one(&|packer| packer.add(6, &[0xff; 12], b"")), "before its start");
    check(one(&|packer| packer.add(6, b"\x00", &delta(A, b"b"))), "without its base");
    check(one(&|packer| packer.add(7, &[7; 20], &delta(A, b"b"))), "without its base");
    // A delta of 64 KiB that stands for 16 GiB: its base 2^18 times.
    let bomb = |packer: &mut Packer| {
        let base = packer.add(3, b"", &[0; 1 << 16]);
        let sizes = [0x80, 0x80, 4, 0x80, 0x80, 0x80, 0x80, 0x40];
        packer.add_offset_delta(base, &[&sizes[..], &[0x80; 1 << 18]].concat())
    };
    check(one(&bomb), "(unpacked_bytes_max)");
    let mut cut = one(&|packer| packer.add(3, b"", A));
    cut.truncate(20);
    check(cut, "in the middle of an object");
}

/// Whichever byte is wrong, and wherever the pack ends: an answer, and no panic and no endless loop.
#[test]
fn a_broken_pack() {
    let mut packer = Packer::new();
    let a = packer.add(3, b"", A);
    packer.add_offset_delta(a, &delta(A, b"b"));
    packer.add(7, blob_id(A).as_slice(), &delta(A, b"d"));
    let whole = packer.finish();
    for at in 0..whole.len() - CHECKSUM_BYTES {
        for flip in [0xff, 0x80, 0x01] {
            let mut broken = whole.clone();
            broken[at] ^= flip;
            if let Ok(mut pack) = unpacked(&broken) {
                // Nothing false is ever given out under an id.
                for content in [A, B] {
                    let read = pack.content(&blob_id(content), Kind::Blob, 1_000);
                    assert!(read.is_err() || read.is_ok_and(|read| read == content));
                }
            }
        }
        assert!(unpacked(&whole[..at]).is_err());
    }
}
