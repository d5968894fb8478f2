//! Reads just enough of an ELF file (System V ABI, "Object Files") to say whether it runs on its own: it names no
//! interpreter (`PT_INTERP`) and needs no shared object (`DT_NEEDED`). A static position-independent executable has
//! a dynamic section of its own, so the section alone proves nothing.

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// What the loader would have to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Linkage {
    /// `e_machine`: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// The program headers ask for a dynamic linker.
    pub interpreter: bool,
    /// How many shared objects the dynamic section asks for.
    pub needed: usize,
}

impl Linkage {
    /// Nothing outside the file is needed.
    pub fn is_static(&self) -> bool {
        !self.interpreter && self.needed == 0
    }
}

/// Reads a 64-bit little-endian ELF file.
pub fn linkage(file: &[u8]) -> Result<Linkage, String> {
    if file.get(..4) != Some(b"\x7fELF") {
        return Err("no ELF file".to_owned());
    }
    if file.get(4..6) != Some(&[2, 1]) {
        return Err("no 64-bit little-endian ELF file".to_owned());
    }
    let machine = number(file, 18, 2)? as u16;
    let table = number(file, 32, 8)?;
    let size = number(file, 54, 2)?;
    let count = number(file, 56, 2)?;
    let mut linkage = Linkage { machine, interpreter: false, needed: 0 };
    for index in 0..count {
        let header = table + index * size;
        match number(file, header, 4)? as u32 {
            PT_INTERP => linkage.interpreter = true,
            PT_DYNAMIC => {
                linkage.needed += needed(file, number(file, header + 8, 8)?, number(file, header + 32, 8)?)?;
            }
            _ => {}
        }
    }
    Ok(linkage)
}

/// Counts the shared objects named by the dynamic section at `start`, `length` bytes long.
fn needed(file: &[u8], start: u64, length: u64) -> Result<usize, String> {
    let mut count = 0;
    for entry in 0..length / 16 {
        match number(file, start + entry * 16, 8)? {
            DT_NULL => break,
            DT_NEEDED => count += 1,
            _ => {}
        }
    }
    Ok(count)
}

/// A little-endian number of `width` bytes.
fn number(file: &[u8], offset: u64, width: usize) -> Result<u64, String> {
    let start = usize::try_from(offset).map_err(|_| "offset beyond memory".to_owned())?;
    let bytes = start
        .checked_add(width)
        .and_then(|end| file.get(start..end))
        .ok_or_else(|| format!("the ELF file ends before byte {offset}"))?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        // cargo links tests and chores dynamically: this very program asks for the dynamic linker.
        let own = std::fs::read("/proc/self/exe").expect("own program");
        let seen = linkage(&own).expect("own program is ELF");
        assert!(seen.interpreter && seen.needed > 0 && !seen.is_static(), "{seen:?}");
    }

    #[test]
    fn only_shared_objects_make_it_dynamic_too() {
        let file = program(&[(PT_DYNAMIC, &[(DT_NEEDED, 1), (DT_NULL, 0), (DT_NEEDED, 2)])]);
        assert_eq!(linkage(&file), Ok(Linkage { machine: 62, interpreter: false, needed: 1 }));
        let file = program(&[(PT_DYNAMIC, &[(30, 8), (DT_NULL, 0)])]);
        assert!(linkage(&file).expect("a static position-independent program").is_static());
    }

    #[test]
    fn other_files_are_errors() {
        for file in [&b"#!/bin/sh\n"[..], b"\x7fELF\x01\x01", &program(&[(PT_DYNAMIC, &[])])[..100]] {
            linkage(file).expect_err("not a whole 64-bit ELF file");
        }
    }

    /// An ELF header, program headers, and behind them each header's dynamic entries.
    fn program(headers: &[(u32, &[(u64, u64)])]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = headers.len() as u8;
        let mut body = Vec::new();
        for (kind, entries) in headers {
            let mut header = vec![0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            let offset = (64 + headers.len() * 56 + body.len()) as u64;
            header[8..16].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&(entries.len() as u64 * 16).to_le_bytes());
            file.extend(header);
            for (tag, value) in *entries {
                body.extend(tag.to_le_bytes());
                body.extend(value.to_le_bytes());
            }
        }
        file.extend(body);
        file
    }
}
