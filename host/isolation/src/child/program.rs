//! Programs of system calls alone. The last steps before a job's program are taken inside of bubblewrap, after all that holds the job is
//! in its place and before the program is known; and there need be no file of the machine's that could take them.
//!
//! A program is a table of calls and what they point at, with a loop of a few instructions that makes one after the other. Must not know
//! what is called.

use std::ffi::c_long;

/// A call's number, five arguments, a result, and how many bytes further the next call is where the result is this one and where it is
/// another. The result takes the number's place.
type Call = [u64; 9];

const CALL_BYTES: u64 = size_of::<Call>() as u64;

/// Where the table is in memory, and what the calls point at. Each has room for more than any program can be given.
const TABLE: u64 = 0x0100_0000;
const DATA: u64 = 0x1000_0000;
const CODE: u64 = 0x0040_0000;

#[cfg(target_arch = "x86_64")]
const LOOP: &[&[u8]] = &[
    b"\xbb\x00\x00\x00\x01", // mov ebx, TABLE
    b"\x48\x8b\x03",         // mov rax, [rbx]
    b"\x48\x8b\x7b\x08",     // mov rdi, [rbx + 8]
    b"\x48\x8b\x73\x10",     // mov rsi, [rbx + 16]
    b"\x48\x8b\x53\x18",     // mov rdx, [rbx + 24]
    b"\x4c\x8b\x53\x20",     // mov r10, [rbx + 32]
    b"\x4c\x8b\x43\x28",     // mov r8, [rbx + 40]
    b"\x0f\x05",             // syscall
    b"\x48\x89\x03",         // mov [rbx], rax
    b"\x48\x8b\x4b\x38",     // mov rcx, [rbx + 56]
    b"\x48\x3b\x43\x30",     // cmp rax, [rbx + 48]
    b"\x48\x0f\x45\x4b\x40", // cmovne rcx, [rbx + 64]
    b"\x48\x01\xcb",         // add rbx, rcx
    b"\xeb\xd2",             // jmp to the second instruction
];

#[cfg(target_arch = "aarch64")]
const LOOP: &[&[u8]] = &[
    b"\x13\x20\xa0\xd2", // mov x19, TABLE
    b"\x68\x02\x40\xf9", // ldr x8, [x19]
    b"\x60\x86\x40\xa9", // ldp x0, x1, [x19, 8]
    b"\x62\x8e\x41\xa9", // ldp x2, x3, [x19, 24]
    b"\x64\x16\x40\xf9", // ldr x4, [x19, 40]
    b"\x01\x00\x00\xd4", // svc 0
    b"\x60\x02\x00\xf9", // str x0, [x19]
    b"\x69\x1a\x40\xf9", // ldr x9, [x19, 48]
    b"\x6a\xae\x43\xa9", // ldp x10, x11, [x19, 56]
    b"\x1f\x00\x09\xeb", // cmp x0, x9
    b"\x4a\x01\x8b\x9a", // csel x10, x10, x11, eq
    b"\x73\x02\x0a\x8b", // add x19, x19, x10
    b"\xf5\xff\xff\x17", // b to the second instruction
];

/// The machine's number, and its largest pages.
#[cfg(target_arch = "x86_64")]
const MACHINE: (u16, usize) = (62, 4 << 10);
#[cfg(target_arch = "aarch64")]
const MACHINE: (u16, usize) = (183, 64 << 10);

#[derive(Default)]
pub(super) struct Program {
    calls: Vec<Call>,
    data: Vec<u8>,
}

impl Program {
    /// Where these bytes are, with a zero byte after them.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let at = DATA + self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.data.push(0);
        at
    }

    /// Where these words are.
    pub(super) fn words(&mut self, words: impl IntoIterator<Item = u64>) -> u64 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = DATA + self.data.len() as u64;
        self.data.extend(words.into_iter().flat_map(u64::to_ne_bytes));
        at
    }

    /// Where there is a list of these texts as execve takes it.
    pub(super) fn list<'a>(&mut self, texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let texts: Vec<u64> = texts.into_iter().map(|text| self.bytes(text)).collect();
        self.words(texts.into_iter().chain([0]))
    }

    /// The next call, whatever becomes of it.
    pub(super) fn call<const N: usize>(&mut self, number: c_long, arguments: [u64; N]) {
        self.call_if(number, arguments, 0, 1, 1);
    }

    /// The next call, and how many calls further it goes on where the result is this one, and where it is another.
    pub(super) fn call_if<const N: usize>(
        &mut self,
        number: c_long,
        arguments: [u64; N],
        result: i64,
        then: u64,
        otherwise: u64,
    ) {
        let mut call = [0; 9];
        call[0] = number.cast_unsigned();
        call[1..=N].copy_from_slice(&arguments);
        call[6..].copy_from_slice(&[result.cast_unsigned(), then * CALL_BYTES, otherwise * CALL_BYTES]);
        self.calls.push(call);
    }

    /// The table itself, for a call that tells what became of the others: where it is, and how long.
    pub(super) fn table(calls: usize) -> (u64, u64) {
        (TABLE, calls as u64 * CALL_BYTES)
    }

    /// What became of the calls of a table that was told.
    pub(super) fn results(table: &[u8]) -> impl Iterator<Item = i64> {
        table.chunks_exact(size_of::<Call>()).map(|call| i64::from_ne_bytes(call[..8].try_into().expect("eight bytes")))
    }

    /// As the kernel runs it: an ELF file of three segments, for the loop, the table, and what the calls point at.
    pub(super) fn file(&self) -> Vec<u8> {
        let table: Vec<u8> = self.calls.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
        let code = LOOP.concat();
        let (machine, page) = MACHINE;
        let headers = 64 + 4 * 56;
        let end = headers + code.len();
        let table_at = end.next_multiple_of(page);
        let data_at = (table_at + table.len()).next_multiple_of(page);
        let mut file = Vec::with_capacity(data_at + self.data.len());
        file.extend_from_slice(b"\x7fELF\x02");
        file.extend_from_slice(&[if cfg!(target_endian = "little") { 1 } else { 2 }, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
        // An executable of this machine: where it begins, where the headers of segments are, no sections.
        [2, machine].iter().for_each(|it| put(&it.to_ne_bytes()));
        put(&1_u32.to_ne_bytes());
        [CODE + headers as u64, 64, 0].iter().for_each(|it| put(&it.to_ne_bytes()));
        put(&0_u32.to_ne_bytes());
        [64_u16, 56, 4, 0, 0, 0].iter().for_each(|it| put(&it.to_ne_bytes()));
        const LOAD: u32 = 1;
        const STACK: u32 = 0x6474_e551;
        const EXECUTE: u32 = 1;
        const WRITE: u32 = 2;
        const READ: u32 = 4;
        let segments = [
            (LOAD, READ | EXECUTE, 0, CODE, end),
            (LOAD, READ | WRITE, table_at, TABLE, table.len()),
            (LOAD, READ, data_at, DATA, self.data.len()),
            (STACK, READ | WRITE, 0, 0, 0),
        ];
        for (kind, flags, offset, address, length) in segments {
            put(&kind.to_ne_bytes());
            put(&flags.to_ne_bytes());
            let alignment = page as u64;
            [offset as u64, address, address, length as u64, length as u64, alignment]
                .iter()
                .for_each(|it| put(&it.to_ne_bytes()));
        }
        put(&code);
        file.resize(table_at, 0);
        file.extend_from_slice(&table);
        file.resize(data_at, 0);
        file.extend_from_slice(&self.data);
        file
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// A program writes, tells what became of its calls, jumps where it says, and becomes another.
    #[test]
    fn calls_are_made_in_their_order_and_told() {
        let mut program = Program::default();
        let (text, no, sh) = (program.bytes(b"written\n"), program.bytes(b"/no/such"), program.bytes(b"/bin/sh"));
        program.call_if(libc::SYS_write, [1, text, 8], 8, 2, 1);
        program.call(libc::SYS_exit_group, [9]);
        program.call_if(libc::SYS_chdir, [no], 0, 1, 2);
        program.call(libc::SYS_exit_group, [10]);
        let (table, length) = Program::table(3);
        program.call(libc::SYS_write, [2, table, length]);
        let arguments = program.list([&b"sh"[..], b"-c", b"echo $A$0"]);
        let environment = program.list([&b"A=b"[..]]);
        program.call(libc::SYS_execve, [sh, arguments, environment]);
        program.call(libc::SYS_exit_group, [11]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o700).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, &program.file()).unwrap();
        drop(file);
        // Another thread may have forked while the file was open for writing.
        let mut command = std::process::Command::new(&path);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = loop {
            match command.spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => break child.unwrap(),
            }
        };
        let (mut out, mut err) = (String::new(), Vec::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_end(&mut err).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(out, "written\nbsh\n");
        let results: Vec<i64> = Program::results(&err).collect();
        assert_eq!((results[0], results[2]), (8, -i64::from(libc::ENOENT)));
    }
}
