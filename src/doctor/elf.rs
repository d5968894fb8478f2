//! The sections of an ELF file by name (System V ABI, "Object Files"): of a program of a hundred megabytes only a few
//! are needed. Every number in the file is untrusted; an inconsistent one gives no section.

use crate::rootfs::parts::PartialFile;

/// More sections than a linker makes are not read.
const SECTIONS_LIMIT: u64 = 4096;
/// Names of sections are short: together they have a few hundred bytes.
const NAMES_LIMIT: u64 = 64 * 1024;
/// Larger sections are not read: those of libraries for TLS have about 1 MiB.
const SECTION_LIMIT: u64 = 4 * 1024 * 1024;
/// The type of a section without bytes in the file.
const NO_BITS: u64 = 8;

/// How numbers are written in a file.
#[derive(Clone, Copy)]
struct ElfLayout {
    is_64: bool,
    is_little: bool,
}

impl ElfLayout {
    /// The number of `width` bytes at `offset`.
    fn number(self, bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
        let digits = bytes.get(offset..offset + width)?;
        let add = |sum: u64, digit: &u8| sum << 8 | u64::from(*digit);
        Some(if self.is_little { digits.iter().rev().fold(0, add) } else { digits.iter().fold(0, add) })
    }

    /// A field whose offset and width depend on the class of the file: those for 32 bits, then for 64.
    fn field(self, bytes: &[u8], narrow: (usize, usize), wide: (usize, usize)) -> Option<u64> {
        let (offset, width) = if self.is_64 { wide } else { narrow };
        self.number(bytes, offset, width)
    }
}

/// The bytes of the sections whose name `is_wanted`, in file order; none if the file is not ELF.
pub(super) fn sections(file: &PartialFile, is_wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    read(file, is_wanted).unwrap_or_default()
}

fn read(file: &PartialFile, is_wanted: impl Fn(&str) -> bool) -> Option<Vec<Vec<u8>>> {
    let head = file.at(0, file.size().min(64)).ok()?;
    let (class, order) = match head.get(..6)? {
        [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2] => (*class, *order),
        _ => return None,
    };
    let layout = ElfLayout { is_64: class == 2, is_little: order == 1 };
    let table = layout.field(&head, (0x20, 4), (0x28, 8))?;
    let entry = layout.field(&head, (0x2e, 2), (0x3a, 2))?;
    let count = layout.field(&head, (0x30, 2), (0x3c, 2))?;
    let names_at = layout.field(&head, (0x32, 2), (0x3e, 2))?;
    let least = if layout.is_64 { 64 } else { 40 };
    if count > SECTIONS_LIMIT || !(least..=256).contains(&entry) {
        return None;
    }
    let headers = file.at(table, count * entry).ok()?;
    let header = |index: u64| headers.chunks_exact(entry as usize).nth(usize::try_from(index).ok()?);
    let place = |header: &[u8]| {
        let kind = layout.number(header, 4, 4)?;
        let offset = layout.field(header, (0x10, 4), (0x18, 8))?;
        let size = layout.field(header, (0x14, 4), (0x20, 8))?;
        (kind != NO_BITS).then_some((offset, size))
    };
    let (offset, size) = place(header(names_at)?)?;
    let names = file.at(offset, size.min(NAMES_LIMIT)).ok()?;
    let mut found = Vec::new();
    for header in headers.chunks_exact(entry as usize) {
        let name = layout.number(header, 0, 4).and_then(|at| names.get(usize::try_from(at).ok()?..));
        let name = name.and_then(|rest| std::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok());
        if let (Some(name), Some((offset, size))) = (name, place(header))
            && is_wanted(name)
            && size <= SECTION_LIMIT
        {
            found.extend(file.at(offset, size).ok());
        }
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build the files that they look at")]
mod tests {
    use super::*;
    use crate::cert::testing::Xorshift;
    use crate::rootfs::Sysroot;
    use crate::rootfs::budget;

    fn of(bytes: &[u8], name: &str) -> Vec<Vec<u8>> {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("program"), bytes).unwrap();
        budget::begin();
        let sysroot = Sysroot::open(temp.path()).unwrap();
        sections(&sysroot.parts("/program").unwrap().expect("there"), |it| it == name)
    }

    /// The program that runs this test: real linker output.
    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn the_names_of_libraries_are_in_a_section() {
        let found = of(&this_program(), ".dynstr");
        let [names] = found.as_slice() else { panic!("{} sections", found.len()) };
        assert!(names.windows(7).any(|part| part == b"libc.so" || part == b"libgcc_"));
        assert!(of(&this_program(), ".no-such-section").is_empty());
        assert!(of(b"#!/bin/sh\n", ".dynstr").is_empty() && of(b"", ".dynstr").is_empty());
    }

    #[test]
    fn t36_damaged_headers_give_no_section_and_no_panic() {
        let program = this_program();
        let table = u64::from_le_bytes(program[0x28..0x30].try_into().unwrap()) as usize;
        // The headers alone, after zeros in place of the sections.
        let mut small = program[..64].to_vec();
        small[0x28..0x30].copy_from_slice(&64_u64.to_le_bytes());
        small.extend(&program[table..]);
        let mut random = Xorshift(36);
        for _ in 0..2000 {
            let mut damaged = small.clone();
            for _ in 0..4 {
                let at = random.below(damaged.len());
                damaged[at] = random.below(256) as u8;
            }
            damaged.truncate(1 + random.below(small.len()));
            of(&damaged, ".dynstr");
        }
        for length in 0..80 {
            assert!(of(&small[..length], ".dynstr").is_empty());
        }
    }
}
