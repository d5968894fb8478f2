//! An ELF file (System V ABI, "Object Files"), as far as its headers and a few sections tell what it is: of a program of
//! a hundred megabytes only a few kilobytes are needed. Every number in the file is untrusted; an inconsistent one gives
//! nothing.

use crate::rootfs::parts::PartialFile;

/// More headers of one kind than a linker makes are not read.
const HEADERS_LIMIT: u64 = 4096;
/// Names of sections are short: together they have a few hundred bytes.
const NAMES_LIMIT: u64 = 64 * 1024;
/// Larger sections are not read whole: those of libraries for TLS have about 1 MiB.
const SECTION_LIMIT: u64 = 4 * 1024 * 1024;
/// How much of a section is in memory during a search.
const CHUNK: u64 = 256 * 1024;
/// The dynamic section has a few dozen entries, and names a few dozen libraries.
const DYNAMIC_LIMIT: u64 = 64 * 1024;
const NEEDED_LIMIT: usize = 256;
/// The longest name of a library, or list of directories.
const TEXT_LIMIT: u64 = 512;
/// The type of a section without bytes in the file.
const NO_BITS: u64 = 8;
/// Types of segments.
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const INTERPRETER: u64 = 3;
/// The type of a file that is loaded at a fixed address: always a program.
const EXECUTABLE: u64 = 2;
/// Of a program that is loaded anywhere, and of a library.
const SHARED: u64 = 3;
/// Tags of the dynamic section, and the flag of a program without interpreter.
const NEEDED: u64 = 1;
const STRTAB: u64 = 5;
const STRSZ: u64 = 10;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
const FLAGS_1: u64 = 0x6fff_fffb;
const PIE: u64 = 0x0800_0000;

/// How numbers are written in a file.
#[derive(Clone, Copy, Debug)]
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

/// A part of the file that the program's loader knows.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// A part of the file with a name.
#[derive(Clone, Debug)]
struct Section {
    name: String,
    offset: u64,
    size: u64,
}

/// What the loader is told.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    /// The file names of the libraries that are loaded with it.
    pub(super) needed: Vec<String>,
    /// Where to look for them first; `$ORIGIN` is its own directory.
    pub(super) run_path: Vec<String>,
    /// It is a program.
    is_pie: bool,
}

/// An ELF file.
#[derive(Debug)]
pub(super) struct Elf<'f> {
    file: &'f PartialFile,
    layout: ElfLayout,
    kind: u64,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

impl<'f> Elf<'f> {
    /// Reads the headers; `None` if the file is not ELF.
    pub(super) fn read(file: &'f PartialFile) -> Option<Elf<'f>> {
        let head = file.at(0, file.size().min(64)).ok()?;
        let (class, order) = match head.get(..6)? {
            [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2] => (*class, *order),
            _ => return None,
        };
        let layout = ElfLayout { is_64: class == 2, is_little: order == 1 };
        let kind = layout.number(&head, 0x10, 2)?;
        let segments = segments(file, layout, &head).unwrap_or_default();
        let sections = section_table(file, layout, &head).unwrap_or_default();
        Some(Elf { file, layout, kind, segments, sections })
    }

    /// Whether it is a program, not a library or an object file.
    pub(super) fn is_program(&self, dynamic: &Dynamic) -> bool {
        let is_interpreted = self.segments.iter().any(|segment| segment.kind == INTERPRETER);
        self.kind == EXECUTABLE || self.kind == SHARED && (is_interpreted || dynamic.is_pie)
    }

    /// Whether it names its sections; those who pack programs leave that out.
    pub(super) fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// Whether it has a section of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// The bytes of the section with this name; `None` if there is none, or if it has more than `limit` bytes.
    pub(super) fn section(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        (section.size <= limit).then(|| self.file.at(section.offset, section.size).ok()).flatten()
    }

    /// Passes the sections whose name `is_wanted` to `look` in parts, until it returns `true`. Two parts share
    /// `overlap` bytes, so that no text up to that length is cut. `None`: they have more than `limit` bytes together,
    /// or cannot be read.
    pub(super) fn search(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        limit: u64,
        overlap: u64,
        look: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Option<bool> {
        let wanted: Vec<&Section> = self.sections.iter().filter(|section| is_wanted(&section.name)).collect();
        let together = wanted.iter().try_fold(0_u64, |sum, section| sum.checked_add(section.size))?;
        if together > limit {
            return None;
        }
        for section in wanted {
            let mut at = 0;
            while at < section.size {
                let length = CHUNK.min(section.size - at);
                if look(&self.file.at(section.offset.checked_add(at)?, length).ok()?) {
                    return Some(true);
                }
                if at + length == section.size {
                    break;
                }
                at += length.saturating_sub(overlap).max(1);
            }
        }
        Some(false)
    }

    /// Where an address is in the file, and how many bytes follow there.
    fn place(&self, address: u64) -> Option<(u64, u64)> {
        let segment = self.segments.iter().find(|segment| {
            segment.kind == LOAD && address.checked_sub(segment.address).is_some_and(|at| at < segment.size)
        })?;
        let at = address - segment.address;
        Some((segment.offset.checked_add(at)?, segment.size - at))
    }

    /// The bytes at an address in memory, at most `limit`.
    pub(super) fn at_address(&self, address: u64, limit: u64) -> Option<Vec<u8>> {
        let (offset, length) = self.place(address)?;
        self.file.at(offset, length.min(limit)).ok()
    }

    /// A pointer of this file's size.
    pub(super) fn pointer(&self, bytes: &[u8], offset: usize) -> Option<u64> {
        self.layout.number(bytes, offset, if self.layout.is_64 { 8 } else { 4 })
    }

    /// What the loader is told; empty for a static program.
    pub(super) fn dynamic(&self) -> Dynamic {
        self.read_dynamic().unwrap_or_default()
    }

    fn read_dynamic(&self) -> Option<Dynamic> {
        let segment = self.segments.iter().find(|segment| segment.kind == DYNAMIC)?;
        let table = self.file.at(segment.offset, segment.size.min(DYNAMIC_LIMIT)).ok()?;
        let width = if self.layout.is_64 { 8 } else { 4 };
        let entries: Vec<(u64, u64)> = table
            .chunks_exact(2 * width)
            .map_while(|entry| {
                let tag = self.layout.number(entry, 0, width)?;
                (tag != 0).then_some((tag, self.layout.number(entry, width, width)?))
            })
            .collect();
        let value = |wanted: u64| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let is_pie = value(FLAGS_1).is_some_and(|flags| flags & PIE != 0);
        let mut found = Dynamic { is_pie, ..Dynamic::default() };
        let Some((names, length)) = value(STRTAB).and_then(|address| self.place(address)) else {
            return Some(found);
        };
        let length = value(STRSZ).map_or(length, |size| size.min(length));
        let text = |at: u64| {
            let left = length.checked_sub(at)?;
            let bytes = self.file.at(names.checked_add(at)?, left.min(TEXT_LIMIT)).ok()?;
            let text = bytes.split(|byte| *byte == 0).next()?;
            std::str::from_utf8(text).ok().map(ToOwned::to_owned)
        };
        let needed = entries.iter().filter(|(tag, _)| *tag == NEEDED).take(NEEDED_LIMIT);
        found.needed = needed.filter_map(|(_, at)| text(*at)).collect();
        let run_path = value(RUNPATH).or_else(|| value(RPATH)).and_then(text).unwrap_or_default();
        found.run_path = run_path.split(':').filter(|path| !path.is_empty()).map(ToOwned::to_owned).collect();
        Some(found)
    }
}

fn segments(file: &PartialFile, layout: ElfLayout, head: &[u8]) -> Option<Vec<Segment>> {
    let table = layout.field(head, (0x1c, 4), (0x20, 8))?;
    let entry = layout.field(head, (0x2a, 2), (0x36, 2))?;
    let count = layout.field(head, (0x2c, 2), (0x38, 2))?;
    let least = if layout.is_64 { 56 } else { 32 };
    if count > HEADERS_LIMIT || !(least..=256).contains(&entry) {
        return None;
    }
    let headers = file.at(table, count * entry).ok()?;
    let read = |header: &[u8]| {
        Some(Segment {
            kind: layout.number(header, 0, 4)?,
            offset: layout.field(header, (0x04, 4), (0x08, 8))?,
            address: layout.field(header, (0x08, 4), (0x10, 8))?,
            size: layout.field(header, (0x10, 4), (0x20, 8))?,
        })
    };
    Some(headers.chunks_exact(entry as usize).filter_map(read).collect())
}

fn section_table(file: &PartialFile, layout: ElfLayout, head: &[u8]) -> Option<Vec<Section>> {
    let table = layout.field(head, (0x20, 4), (0x28, 8))?;
    let entry = layout.field(head, (0x2e, 2), (0x3a, 2))?;
    let count = layout.field(head, (0x30, 2), (0x3c, 2))?;
    let names_at = layout.field(head, (0x32, 2), (0x3e, 2))?;
    let least = if layout.is_64 { 64 } else { 40 };
    if count > HEADERS_LIMIT || !(least..=256).contains(&entry) {
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
        if let (Some(name), Some((offset, size))) = (name, place(header)) {
            found.push(Section { name: name.to_owned(), offset, size });
        }
    }
    Some(found)
}

/// The bytes of the sections whose name `is_wanted`, in file order; none if the file is not ELF.
pub(super) fn sections(file: &PartialFile, is_wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let Some(elf) = Elf::read(file) else { return Vec::new() };
    let wanted =
        elf.sections.iter().filter(|section| is_wanted(&section.name) && section.size <= SECTION_LIMIT);
    wanted.filter_map(|section| file.at(section.offset, section.size).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build the files that they look at")]
mod tests {
    use super::*;
    use crate::pki::cert::testing::Xorshift;
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
