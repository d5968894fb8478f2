//! ELF programs that are nothing but headers and sections: what trustup reads of a program.

/// Where the file is in memory.
const BASE: u64 = 0x40_0000;

/// A program (64 bits, little-endian) that loads these libraries, with these sections.
pub fn program(needed: &[&str], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 64 + 2 * 56];
    let mut headers = vec![[0; 64].to_vec()];
    let mut names = b"\0".to_vec();
    let mut add = |file: &mut Vec<u8>, name: &str, kind: u32, content: &[u8]| -> usize {
        let offset = file.len();
        file.extend(content);
        let mut header = [(names.len() as u32).to_le_bytes(), kind.to_le_bytes()].concat();
        header.extend(
            [0, BASE + offset as u64, offset as u64, content.len() as u64].map(u64::to_le_bytes).concat(),
        );
        header.resize(64, 0);
        headers.push(header);
        names.extend(name.as_bytes());
        names.push(0);
        offset
    };
    let (mut texts, mut dynamic) = (vec![0_u8], Vec::new());
    for library in needed {
        dynamic.push([1, texts.len() as u64]);
        texts.extend(library.as_bytes());
        texts.push(0);
    }
    let texts_at = add(&mut file, ".dynstr", 3, &texts);
    dynamic.extend([[5, BASE + texts_at as u64], [10, texts.len() as u64], [0, 0]]);
    let dynamic: Vec<u8> = dynamic.iter().flatten().flat_map(|number: &u64| number.to_le_bytes()).collect();
    let dynamic_at = add(&mut file, ".dynamic", 6, &dynamic);
    for (name, content) in sections {
        add(&mut file, name, 1, content);
    }
    let names_at = file.len();
    names.extend(b".shstrtab\0");
    file.extend(&names);
    let mut header = [(names.len() as u32 - 10).to_le_bytes(), 3_u32.to_le_bytes()].concat();
    header.extend([0, 0, names_at as u64, names.len() as u64].map(u64::to_le_bytes).concat());
    header.resize(64, 0);
    headers.push(header);
    let table = file.len();
    file.extend(headers.concat());
    let segment = |kind: u32, offset: usize, size: usize| {
        let mut header = [kind.to_le_bytes(), 4_u32.to_le_bytes()].concat();
        let (offset, size) = (offset as u64, size as u64);
        header.extend([offset, BASE + offset, BASE + offset, size, size, 8].map(u64::to_le_bytes).concat());
        header
    };
    let mut segments = segment(1, 0, table);
    if !needed.is_empty() {
        segments.extend(segment(2, dynamic_at, dynamic.len()));
    }
    file[64..64 + segments.len()].copy_from_slice(&segments);
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    // A program for x86-64.
    head.extend([2_u16, 62].map(u16::to_le_bytes).concat());
    head.extend(1_u32.to_le_bytes());
    head.extend([0, 64, table as u64].map(u64::to_le_bytes).concat());
    head.extend(0_u32.to_le_bytes());
    let segments = 1 + u16::from(!needed.is_empty());
    head.extend(
        [64, 56, segments, 64, headers.len() as u16, headers.len() as u16 - 1].map(u16::to_le_bytes).concat(),
    );
    file[..64].copy_from_slice(&head);
    file
}

/// A static Go program: the version of Go, its modules (as debug/buildinfo has them), and names of functions in it.
pub fn go_program(version: &str, modules: &str, functions: &[&str]) -> Vec<u8> {
    let mut information = b"\xff Go buildinf:\x08\x02".to_vec();
    information.resize(32, 0);
    let marked = [&[1; 16][..], modules.as_bytes(), &[2; 16]].concat();
    for text in [version.as_bytes(), &marked] {
        let mut length = text.len();
        while length >= 0x80 {
            information.push(length as u8 | 0x80);
            length >>= 7;
        }
        information.push(length as u8);
        information.extend(text);
    }
    let functions = functions.join("\0");
    program(&[], &[(".go.buildinfo", &information), (".gopclntab", functions.as_bytes())])
}

/// A Rust program with cargo-auditable's list of these crates; `build:NAME` for one that only its build used.
pub fn rust_program(crates: &[&str]) -> Vec<u8> {
    let packages: Vec<_> = crates
        .iter()
        .map(|name| match name.strip_prefix("build:") {
            Some(name) => serde_json::json!({ "name": name, "version": "1.0.0", "kind": "build" }),
            None => serde_json::json!({ "name": name, "version": "1.0.0", "source": "crates.io" }),
        })
        .collect();
    let list = serde_json::json!({ "packages": packages }).to_string();
    let list = miniz_oxide::deflate::compress_to_vec_zlib(list.as_bytes(), 6);
    program(&["libc.so.6"], &[(".dep-v0", &list)])
}
