//! Files of PEM certificates as people have them, and as nobody should: every kind of damage to one block, alone and
//! between good blocks.

use trustup::pki::cert::pem;

/// A file to be read, and what was done to it.
pub(super) struct Variation {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Three good certificates; the second is the one that is changed.
pub(super) struct Certificates {
    pub(super) first: Vec<u8>,
    pub(super) changed: Vec<u8>,
    pub(super) last: Vec<u8>,
}

/// All variations.
pub(super) fn all(certificates: &Certificates) -> Vec<Variation> {
    let (first, last) = (pem::encode(&certificates.first), pem::encode(&certificates.last));
    let mut variations = Vec::new();
    for (name, bytes) in changed(&certificates.changed) {
        for (place, parts) in [
            ("alone", vec![bytes.clone()]),
            ("between", vec![first.clone().into_bytes(), bytes.clone(), last.clone().into_bytes()]),
            ("after", vec![first.clone().into_bytes(), bytes.clone()]),
            ("before", vec![bytes.clone(), last.clone().into_bytes()]),
        ] {
            variations.push(Variation { name: format!("{name}, {place}"), bytes: parts.concat() });
        }
    }
    variations
}

/// The changed block, in every way.
fn changed(der: &[u8]) -> Vec<(String, Vec<u8>)> {
    let good = pem::encode(der);
    let lines: Vec<&str> = good.lines().collect();
    let (body, end) = (&lines[1..lines.len() - 1], lines[lines.len() - 1]);
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| all.push((name, bytes));

    // A line of its own at every kind of place.
    let places = [("behind BEGIN", 1), ("in the middle", lines.len() / 2), ("before END", lines.len() - 1)];
    for (what, line) in [
        ("an empty line", ""),
        ("a blank line", " \t "),
        ("a form feed", "\x0c"),
        ("a vertical tab", "\x0b"),
        ("a carriage return", "\r"),
        ("a NUL line", "\0"),
        ("a NUL and text", "\0abc"),
        ("a dash", "-"),
        ("four dashes", "----"),
        ("five dashes", "-----"),
        ("a comment", "# comment"),
        ("a header", "Comment: text"),
        ("a header without value", "Comment:"),
        ("a colon", ":"),
        ("an escape", "\x1b[0m"),
        ("a long line", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"),
        ("padding", "="),
        ("a no-break space", "\u{a0}"),
        ("a word", "word"),
    ] {
        for (place, at) in places {
            let mut changed = lines.clone();
            changed.insert(at, line);
            add(format!("{what} {place}"), text(&changed));
        }
        add(format!("{what} in front"), [line.as_bytes(), b"\n", good.as_bytes()].concat());
        add(format!("{what} behind"), [good.as_bytes(), line.as_bytes(), b"\n"].concat());
    }

    // Bytes at the ends of lines, and in front of them.
    for (what, bytes) in [
        ("a space", " "),
        ("a tab", "\t"),
        ("a carriage return", "\r"),
        ("two carriage returns", "\r\r"),
        ("a form feed", "\x0c"),
        ("a NUL", "\0"),
        ("a letter", "x"),
        ("a dash", "-"),
        ("a no-break space", "\u{a0}"),
        ("a byte order mark", "\u{feff}"),
        ("a high byte", "\u{ff}"),
    ] {
        for (place, at) in
            [("BEGIN", 0), ("a line", 2), ("the last line", lines.len() - 2), ("END", lines.len() - 1)]
        {
            for behind in [true, false] {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[at] =
                    if behind { format!("{}{bytes}", lines[at]) } else { format!("{bytes}{}", lines[at]) };
                let side = if behind { "behind" } else { "in front of" };
                add(format!("{what} {side} {place}"), text(&changed));
            }
        }
    }

    // Line ends.
    for (what, ending) in [
        ("CRLF", "\r\n"),
        ("CR", "\r"),
        ("LF CR", "\n\r"),
        ("doubled line ends", "\n\n"),
        ("doubled CRLF", "\r\n\r\n"),
        ("CR CR LF", "\r\r\n"),
        ("no line ends", ""),
        ("spaces for line ends", " "),
        ("literal line ends", "\\n"),
        ("indented lines", "\n  "),
    ] {
        add(what.to_owned(), good.trim_end().replace('\n', ending).into_bytes());
        add(format!("{what} and a last one"), (good.trim_end().replace('\n', ending) + "\n").into_bytes());
    }

    // The whole file.
    add("nothing changed".to_owned(), good.clone().into_bytes());
    add("no line end at the end".to_owned(), good.trim_end().into());
    add("a byte order mark".to_owned(), format!("\u{feff}{good}").into_bytes());
    add("a byte order mark and a line".to_owned(), format!("\u{feff}\n{good}").into_bytes());
    for (what, bytes) in
        [("little endian", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("big endian", u16::to_be_bytes)]
    {
        let wide: Vec<u8> = good.encode_utf16().flat_map(bytes).collect();
        add(format!("UTF-16 {what}"), wide.clone());
        add(format!("UTF-16 {what} with a mark"), [&bytes(0xfeff)[..], &wide].concat());
        add(format!("UTF-16 {what} and a line end"), [&wide[..], b"\n"].concat());
    }
    add("DER".to_owned(), der.to_vec());
    add("DER and a line end".to_owned(), [der, b"\n"].concat());
    add("twice".to_owned(), good.repeat(2).into_bytes());
    add("base64 alone".to_owned(), (body.join("\n") + "\n").into_bytes());
    add("only BEGIN".to_owned(), format!("{}\n", lines[0]).into_bytes());
    add("only END".to_owned(), format!("{end}\n").into_bytes());
    add("cut in the body".to_owned(), text(&lines[..lines.len() / 2]));
    add("cut before END".to_owned(), text(&lines[..lines.len() - 1]));
    add("no BEGIN".to_owned(), text(&lines[1..]));
    add("BEGIN twice".to_owned(), text(&[&lines[..1], &lines[..]].concat()));
    add("END twice".to_owned(), text(&[&lines[..], &lines[lines.len() - 1..]].concat()));
    add("nested".to_owned(), text(&[&lines[..3], &lines[..], &lines[3..]].concat()));
    add("markers joined".to_owned(), format!("{}{good}", good.trim_end()).into_bytes());
    add("an empty block".to_owned(), format!("{}\n{end}\n", lines[0]).into_bytes());
    add("an empty block and a good one".to_owned(), format!("{}\n{end}\n{good}", lines[0]).into_bytes());
    add("text on the BEGIN line".to_owned(), format!("subject=/CN=x {good}").into_bytes());
    add("a DER tail".to_owned(), pem::encode(&[der, b"tail"].concat()).into_bytes());
    add("a second certificate in the body".to_owned(), pem::encode(&[der, der].concat()).into_bytes());
    add("DER cut".to_owned(), pem::encode(&der[..der.len() - 3]).into_bytes());
    add("no DER".to_owned(), pem::encode(b"no certificate").into_bytes());

    // Markers.
    for label in [
        "X509 CERTIFICATE",
        "TRUSTED CERTIFICATE",
        "X509 CRL",
        "CERTIFICATE REQUEST",
        "NEW CERTIFICATE REQUEST",
        "PKCS7",
        "FOO",
        "certificate",
        "CERTIFICATE ",
        " CERTIFICATE",
        "CERTIFICATES",
        "PUBLIC KEY",
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "",
    ] {
        add(format!("the label `{label}`"), good.replace("CERTIFICATE", label).into_bytes());
        add(format!("BEGIN with `{label}`"), good.replacen("CERTIFICATE", label, 1).into_bytes());
        add(
            format!("END with `{label}`"),
            good.replace("END CERTIFICATE", &format!("END {label}")).into_bytes(),
        );
    }
    for (what, dashes) in [("four", "----"), ("six", "------"), ("en", "\u{2013}\u{2013}---"), ("no", "")] {
        let ends = |line: &str, front: bool| {
            let bare = line.trim_matches('-');
            if front { format!("{dashes}{bare}-----") } else { format!("-----{bare}{dashes}") }
        };
        for (marker, at) in [("BEGIN", 0), ("END", lines.len() - 1)] {
            for front in [true, false] {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[at] = ends(lines[at], front);
                let side = if front { "in front of" } else { "behind" };
                add(format!("{what} dashes {side} {marker}"), text(&changed));
            }
        }
    }
    add("BEGIN in small letters".to_owned(), good.replace("BEGIN", "begin").into_bytes());
    add("END in small letters".to_owned(), good.replace("END", "end").into_bytes());
    add("two spaces behind BEGIN".to_owned(), good.replace("BEGIN ", "BEGIN  ").into_bytes());
    add("a tab behind BEGIN".to_owned(), good.replace("BEGIN ", "BEGIN\t").into_bytes());

    // Headers.
    for headers in [
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n",
        "Proc-Type: 4,ENCRYPTED\n\n",
        "Proc-Type: 4,MIC-CLEAR\n\n",
        "Comment: text\n\n",
        "Comment: text\n",
        "Comment: text\n folded\n\n",
        "Comment: text\n\n\n",
        "\nComment: text\n\n",
    ] {
        let changed = good.replacen('\n', &format!("\n{headers}"), 1);
        add(format!("the headers {headers:?}"), changed.into_bytes());
    }

    // Bodies.
    let dense: String = body.concat();
    for width in [1, 4, 63, 65, 76, 128, 252, 253, 254, 255, 256, 1_000_000] {
        let wrapped: Vec<&str> =
            dense.as_bytes().chunks(width).map(|chunk| str::from_utf8(chunk).expect("ASCII")).collect();
        add(format!("lines of {width}"), text(&[&lines[..1], &wrapped, &lines[lines.len() - 1..]].concat()));
        add(
            format!("an empty line and lines of {width}"),
            text(&[&lines[..1], &[""], &wrapped, &lines[lines.len() - 1..]].concat()),
        );
    }
    let stripped = dense.trim_end_matches('=');
    for (what, changed) in [
        ("no padding", stripped.to_owned()),
        ("padding more", format!("{dense}=")),
        ("padding in front", format!("={dense}")),
        ("padding in the middle", format!("{}={}", &dense[..40], &dense[40..])),
        ("a quarter more", format!("{dense}AAAA")),
        ("a letter more", format!("{dense}A")),
        ("a letter less", dense[1..].to_owned()),
        ("a dash in the middle", format!("{}-{}", &dense[..40], &dense[40..])),
        ("a dash at the end", format!("{dense}-junk")),
        ("URL-safe letters", dense.replace('+', "-").replace('/', "_")),
        ("a question mark", format!("{}?{}", &dense[..40], &dense[41..])),
        ("a NUL in the middle", format!("{}\0{}", &dense[..40], &dense[40..])),
        ("a space in the middle", format!("{} {}", &dense[..40], &dense[40..])),
        (
            "HTML breaks",
            dense
                .as_bytes()
                .chunks(64)
                .map(|line| format!("{}<br>", String::from_utf8_lossy(line)))
                .collect(),
        ),
        ("letters of HTML", dense.replace('+', "&#43;")),
        (
            "quoted printable",
            dense.as_bytes().chunks(64).map(|line| format!("{}=\n", String::from_utf8_lossy(line))).collect(),
        ),
        (
            "quotes",
            dense
                .as_bytes()
                .chunks(64)
                .map(|line| format!("> {}\n", String::from_utf8_lossy(line)))
                .collect(),
        ),
    ] {
        add(format!("a body with {what}"), format!("{}\n{changed}\n{end}\n", lines[0]).into_bytes());
    }
    all
}

fn text<S: AsRef<str>>(lines: &[S]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect::<String>().into_bytes()
}
