//! What a reference is, from the tables in which newer repositories keep theirs (Documentation/technical/reftable).
//!
//! A table is read from its start; its own index is passed over.

use std::fs;
use std::path::Path;

/// Stops a table that takes the memory; a hundred thousand references need some megabytes.
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// A reference's text as its file would have it: an id, or `ref: NAME`. `folder` is that of the tables.
pub(crate) fn find(folder: &Path, name: &str, id_bytes: usize) -> Option<String> {
    let list = fs::read_to_string(folder.join("tables.list")).ok()?;
    // The newest is the last.
    for table in list.lines().rev().filter(|table| !table.contains('/')) {
        let file = folder.join(table);
        if fs::metadata(&file).ok()?.len() > TABLE_BYTES_MAX {
            return None;
        }
        if let Some(found) = find_in(&fs::read(file).ok()?, name.as_bytes(), id_bytes) {
            return found;
        }
    }
    None
}

/// The inner none is a reference that was deleted.
fn find_in(table: &[u8], name: &[u8], id_bytes: usize) -> Option<Option<String>> {
    let mut header = Bytes(table);
    if header.take(4)? != b"REFT" {
        return None;
    }
    let version = header.take(1)?[0];
    let block_bytes = header.number(3)?;
    let first = if version == 1 { 24 } else { 28 };
    let mut start = 0;
    loop {
        // The header is a part of the first block.
        let at = if start == 0 { first } else { start };
        let mut block = Bytes(table.get(at..)?);
        if block.take(1)? != b"r" {
            return None;
        }
        let end = start + block.number(3)?;
        let restarts = Bytes(table.get(end.checked_sub(2)?..end)?).number(2)?;
        let records = table.get(at + 4..end.checked_sub(2 + 3 * restarts)?)?;
        if let Some(found) = find_record(Bytes(records), name, id_bytes) {
            return Some(found);
        }
        // Blocks are filled up with zeros to their size, or follow each other at once.
        start = if block_bytes > 0 && table.get(end) == Some(&0) { start + block_bytes } else { end };
    }
}

fn find_record(mut records: Bytes<'_>, name: &[u8], id_bytes: usize) -> Option<Option<String>> {
    let mut current = Vec::new();
    while !records.0.is_empty() {
        current.truncate(records.varint()?);
        let suffix = records.varint()?;
        current.extend_from_slice(records.take(suffix >> 3)?);
        records.varint()?;
        let value = match suffix & 7 {
            0 => None,
            1 => Some(hex(records.take(id_bytes)?)),
            2 => Some(hex(&records.take(2 * id_bytes)?[..id_bytes])),
            3 => {
                let length = records.varint()?;
                Some(format!("ref: {}", String::from_utf8_lossy(records.take(length)?)))
            }
            _ => return None,
        };
        if current == name {
            return Some(value);
        }
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        self.0.split_off(..count)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut number = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            number = number.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of one block with these records, each a name with its type and value, without shared prefixes.
    fn table(records: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut table = b"REFT\x01\0\x10\0".to_vec();
        table.resize(24, 0);
        table.extend(b"r\0\0\0");
        for (name, kind, value) in records {
            table.extend([0, (name.len() as u8) << 3 | kind]);
            table.extend(name.bytes());
            table.push(0);
            table.extend(*value);
        }
        table.extend([0, 0, 28, 0, 1]);
        let bytes = table.len() as u8;
        table[27] = bytes;
        table.resize(4_096, 0);
        table.extend(b"g");
        table
    }

    #[test]
    fn the_newest_table_wins() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(find(folder.path(), name, 20).as_deref(), expected, "{name}");
        };
        check("HEAD", None);
        let old =
            table(&[("HEAD", 3, b"\x06refs/a"), ("a", 1, &[1; 20]), ("refs/v1", 2, &[3; 40]), ("z", 1, &[9; 20])]);
        let new = table(&[("a", 1, &[2; 20]), ("z", 0, b"")]);
        fs::write(folder.path().join("old"), &old).unwrap();
        fs::write(folder.path().join("new"), &new).unwrap();
        fs::write(folder.path().join("tables.list"), "old\nnew\n").unwrap();
        check("HEAD", Some("ref: refs/a"));
        check("a", Some(&"02".repeat(20)));
        check("refs/v1", Some(&"03".repeat(20)));
        check("z", None);
        check("x", None);
        for end in 0..120 {
            find_in(&old[..end], b"z", 20);
        }
    }
}
