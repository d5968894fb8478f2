//! Which clients `doctor` finds: programs by what they are, those that were demanded, and how far the search came.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use crate::stores::Scene;
use crate::support::elf::{go_program, program, rust_program};
use crate::support::run::Run;

const CLIENT: &str = "crypto/tls.(*Conn).clientHandshake";
/// Labels without which no TLS can derive a key.
const LABELS: &[u8] = b"master secret\0key expansion\0client finished\0";

fn put(scene: &Scene, path: &str, content: impl AsRef<[u8]>, mode: u32) {
    let path = scene.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An empty root file system that holds the root, and these programs.
fn with(programs: &[(&str, Vec<u8>)]) -> Scene {
    let scene = Scene::new("scratch");
    scene.bootstrap().ok();
    for (path, content) in programs {
        put(&scene, path, content, 0o755);
    }
    scene
}

/// Row, program and verdict of each client that is there.
fn found(answer: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let clients = answer["clients"].as_array().unwrap().iter().filter(|one| one["installed"] == true);
    clients.map(|one| (text(&one["client"]), text(&one["found"]), text(&one["verdict"]))).collect()
}

#[track_caller]
fn shows(run: &Run, words: &[&str]) {
    words.iter().for_each(|word| assert!(run.stdout.contains(word), "stdout lacks `{word}`: {run}"));
}

fn said(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[test]
fn a_go_service_of_any_name_is_a_client_by_its_build_information() {
    let scene = with(&[
        ("app/server", go_program("go1.24.4", "path\texample.test/server\n", &["main.main", CLIENT])),
        // It connects to nothing.
        ("app/tool", go_program("go1.24.4", "path\texample.test/tool\n", &["main.main"])),
    ]);
    fs::hard_link(scene.at("app/server"), scene.at("app/same")).unwrap();
    symlink("server", scene.at("app/link")).unwrap();
    put(&scene, "app/start.sh", "#!/app/server\n", 0o755);
    put(&scene, "app/data", go_program("go1.24.4", "", &[CLIENT]), 0o644);
    let answer = scene.trustup(["doctor", "--json"]).ok().json();
    // One file, whatever names it has; what nobody can execute is no program.
    assert_eq!(found(&answer), said(&[("go", "/app/same", "holds")]));
    let go = answer["clients"].as_array().unwrap().iter().find(|one| one["client"] == "go").unwrap();
    assert_eq!((&go["library"], &go["also"]), (&"Go 1.24".into(), &serde_json::json!([])));
    assert_eq!((&answer["all_good"], &answer["search"]["ended_after"]), (&true.into(), &Value::Null));
    // Without the root it is not green.
    fs::write(scene.at("etc/ssl/certs/ca-certificates.crt"), "").unwrap();
    shows(&scene.trustup(["doctor"]).fails(4), &["Go programs (/app/same): lacks the root"]);
}

#[test]
fn programs_for_which_the_same_holds_are_one_entry() {
    let server = || go_program("go1.24.4", "path\tserver\n", &[CLIENT]);
    let fallback = "path\tserver\ndep\tgolang.org/x/crypto/x509roots/fallback\tv0.1.0\t\n";
    let scene = with(&[
        ("app/one", server()),
        ("app/two", [server(), b"another file".to_vec()].concat()),
        ("app/old", go_program("go1.17.13", "path\tserver\n", &[CLIENT])),
        ("app/with-roots", go_program("go1.24.4", fallback, &[CLIENT])),
    ]);
    let answer = scene.trustup(["doctor", "--json"]).ok().json();
    let expected =
        [("go", "/app/old", "holds"), ("go", "/app/one", "holds"), ("go", "/app/with-roots", "holds")];
    assert_eq!(found(&answer), said(&expected));
    let one = answer["clients"].as_array().unwrap().iter().find(|one| one["found"] == "/app/one").unwrap();
    assert_eq!(one["also"], serde_json::json!(["/app/two"]));
    shows(&scene.trustup(["doctor"]).ok(), &["the same holds for /app/two"]);
    // Mozilla's list inside counts only where the system has no root.
    fs::write(scene.at("etc/ssl/certs/ca-certificates.crt"), "").unwrap();
    let answer = scene.trustup(["doctor", "--json", "--client", "/app/with-roots"]).fails(4).json();
    let places = answer["clients"][0]["reads"].as_array().unwrap();
    assert!(places.iter().any(|place| place["kind"] == "compiled-in" && place["roots"] != 0), "{answer:#}");
}

#[test]
fn rust_programs_are_judged_by_their_crates_only() {
    let scene = with(&[
        ("app/native", rust_program(&["rustls", "rustls-native-certs"])),
        ("app/tool", rust_program(&["serde", "build:rustls"])),
    ]);
    let answer = scene.trustup(["doctor", "--json"]).ok().json();
    assert_eq!(found(&answer), said(&[("rust", "/app/native", "holds")]));
    put(&scene, "app/webpki", rust_program(&["rustls", "webpki-roots"]), 0o755);
    let run = scene.trustup(["doctor"]).fails(4);
    shows(&run, &["Rust programs (/app/webpki): lacks the root", "inside it"]);
    assert!(!run.stdout.contains("TRUSTUP") && !run.stdout.contains("bootstrap` "), "no store helps: {run}");
    fs::remove_file(scene.at("app/webpki")).unwrap();
    // The code decides, or nothing shows.
    for (crates, why) in [
        (&["rustls", "webpki-roots", "rustls-native-certs"][..], "its code chooses"),
        (&["rustls"], "its code names them"),
        (&["rustls", "openssl"], "its code chooses"),
        (&["boring-sys"], "none that trustup knows"),
    ] {
        put(&scene, "app/unclear", rust_program(crates), 0o755);
        let run = scene.trustup(["doctor"]).fails(4);
        shows(&run, &["Rust programs (/app/unclear): cannot be judged", why]);
    }
}

#[test]
fn other_programs_are_judged_by_their_library_or_not_at_all() {
    let openssl = b"OpenSSL 3.5.1 1 Jul 2025\0OPENSSLDIR: \"/etc/ssl\"\0";
    let scene = with(&[
        ("bin/cat", program(&["libc.so.6", "libcrypto.so.3"], &[(".rodata", b"usage: cat\0")])),
        ("bin/busybox", program(&[], &[(".rodata", &[b"BusyBox v1.37.0\0", LABELS].concat())])),
        ("opt/static", program(&[], &[(".rodata", openssl)])),
        // A library through a library, found beside the program.
        ("opt/psql/bin/psql", program(&["libpq.so.5"], &[])),
    ]);
    put(&scene, "usr/lib/libpq.so.5", program(&["libssl.so.3"], &[]), 0o644);
    let answer = scene.trustup(["doctor", "--json"]).run().json();
    let rows: Vec<String> =
        found(&answer).into_iter().map(|(row, path, _)| format!("{row} {path}")).collect();
    assert_eq!(rows, ["openssl /opt/static", "openssl /opt/psql/bin/psql"]);
    for (name, content) in [
        ("inside", program(&[], &[(".rodata", LABELS)])),
        ("tls13", program(&[], &[(".rodata.str", b"c hs traffic\0")])),
        ("rust", program(&[], &[(".rodata", &[b"/rustc/0123/library/core\0", &openssl[..]].concat())])),
        ("mbed", program(&["libmbedtls.so.14"], &[])),
        ("frozen", program(&["libc.so.6"], &[("pydata", b"archive")])),
        ("image", program(&["libc.so.6"], &[(".svm_heap", b"heap")])),
        ("packed", program(&[], &[])[..64 + 56].to_vec()),
    ] {
        put(&scene, "opt/unclear", content, 0o755);
        let answer = scene.trustup(["doctor", "--json", "--client", "/opt/unclear"]).fails(4).json();
        assert_eq!(found(&answer), said(&[("other", "/opt/unclear", "cannot-judge")]), "{name}");
        assert_eq!(answer["all_good"], false, "{name}");
    }
    // Where nothing is in question, nothing is unknown.
    scene.untrust().ok();
    scene.trustup(["doctor"]).ok();
}

#[test]
fn clients_of_the_table_are_found_outside_of_path_too() {
    let curl = |version: &str| {
        let texts = format!("\0curl/{version}\0/etc/ssl/certs/ca-certificates.crt\0");
        program(&["libcurl.so.4"], &[(".rodata", texts.as_bytes())])
    };
    let scene = with(&[("opt/curl/bin/curl", curl("8.14.1")), ("srv/bin/curl", curl("8.14.1"))]);
    let answer = scene.trustup(["doctor", "--json", "--client", "curl"]).ok().json();
    assert_eq!(found(&answer), said(&[("curl", "/opt/curl/bin/curl", "holds")]));
    assert_eq!(answer["clients"][0]["also"], serde_json::json!(["/srv/bin/curl"]));
    let answer = scene.trustup(["doctor", "--json", "--client", "/srv/bin/curl"]).ok().json();
    assert_eq!(found(&answer), said(&[("curl", "/srv/bin/curl", "holds")]));
}

#[test]
fn demanded_clients_must_be_there() {
    let scene = with(&[("app/server", go_program("go1.24.4", "", &[CLIENT]))]);
    scene.trustup(["doctor", "--client", "go", "--client", "/app/server"]).ok();
    let run = scene.trustup(["doctor", "--client", "curl,go,/app/server"]).fails(4);
    run.says([
        "a client of `--client` is not there",
        "curl: it is not installed",
        "hint:",
        "without `--client`",
    ]);
    assert!(run.stdout.contains("Go programs (/app/server): holds the root"), "the others are shown: {run}");
    let answer = scene.trustup(["doctor", "--json", "--client", "curl,go"]).fails(4).json();
    assert_eq!((&answer["all_good"], &answer["missing"][0]["client"]), (&false.into(), &"curl".into()));
    for (path, why) in [
        ("/app/missing", "it is not there"),
        ("/etc/ssl/certs/ca-certificates.crt", "neither an ELF program nor a script"),
        ("/app/cat", "no TLS shows in it"),
        ("/app/lost.sh", "`/usr/bin/python3` is not there"),
    ] {
        put(&scene, "app/cat", program(&["libc.so.6"], &[]), 0o755);
        put(&scene, "app/lost.sh", "#!/usr/bin/python3\n", 0o755);
        let run = scene.trustup(["doctor", "--client", path]).fails(4);
        run.says([path, why, "hint:"]);
    }
    // A script is its interpreter's.
    put(&scene, "usr/bin/python3.13", program(&["libc.so.6"], &[]), 0o755);
    symlink("python3.13", scene.at("usr/bin/python3")).unwrap();
    put(&scene, "app/app.py", "#!/usr/bin/env python3\n", 0o755);
    for script in ["/app/app.py", "/app/lost.sh"] {
        let answer = scene.trustup(["doctor", "--json", "--client", script]).run().json();
        assert_eq!(answer["clients"][0]["client"], "python", "{answer:#}");
        assert_eq!(answer["clients"][0]["found"], script);
        assert!(answer["clients"][0]["library"].as_str().unwrap().contains("STRICT"), "{answer:#}");
    }
    // What is no client is said at once, with what is meant and what there is.
    scene
        .trustup(["doctor", "--client", "culr"])
        .fails(2)
        .says(["did you mean `curl`?", "--client /app/server"]);
    scene.trustup(["doctor", "--client", "app/server"]).fails(2).says(["absolute path"]);
    let empty = Scene::new("scratch");
    empty.trustup(["doctor", "--client", "go"]).fails(4);
}

/// A search that ended early is not green, unless the clients that matter are named.
#[test]
fn t36_a_search_that_ends_early_says_so() {
    let scene = with(&[("app/server", go_program("go1.24.4", "", &[CLIENT]))]);
    let whole = scene.trustup(["doctor", "--json"]).ok().json();
    assert_eq!(whole["search"]["ended_after"], Value::Null);
    // Constants of 20 MiB that take no place on the disk.
    let small = program(&[], &[(".rodata", b"0123456789abcdef")]);
    let at = small.windows(16).position(|part| part == b"0123456789abcdef").unwrap() as u64;
    for number in 0..12 {
        let mut large = small.clone();
        let size = (20_u64 << 20).to_le_bytes();
        let place =
            large.windows(16).position(|part| part == [at.to_le_bytes(), 16_u64.to_le_bytes()].concat());
        let place = place.unwrap() + 8;
        large[place..place + 8].copy_from_slice(&size);
        let path = format!("usr/bin/large-{number}");
        put(&scene, &path, &large, 0o755);
        fs::File::options().write(true).open(scene.at(&path)).unwrap().set_len(24 << 20).unwrap();
    }
    let run = scene.trustup(["doctor"]).fails(4);
    run.says(["not all programs were inspected", "MiB of programs", "--client"]);
    let answer = scene.trustup(["doctor", "--json"]).fails(4).json();
    assert_eq!((&answer["all_good"], answer["search"]["ended_after"].is_string()), (&false.into(), true));
    scene.trustup(["doctor", "--client", "/app/server"]).ok();
}

/// Nothing of a program's file is believed.
#[test]
fn damaged_programs_are_no_reason_to_stop() {
    let good = [
        go_program("go1.24.4", "path\tserver\n", &[CLIENT]),
        rust_program(&["rustls", "webpki-roots"]),
        program(&["libssl.so.3", "libc.so.6"], &[(".rodata", LABELS)]),
    ];
    let scene = with(&[]);
    for (number, content) in good.iter().enumerate() {
        for step in (0..content.len()).step_by(7) {
            let mut bytes = content.clone();
            bytes[step] ^= 0xff;
            put(&scene, &format!("app/{number}-{step}"), &bytes, 0o755);
            bytes.truncate(step);
            put(&scene, &format!("app/{number}-{step}-short"), &bytes, 0o755);
        }
    }
    symlink("/app", scene.at("app/loop")).unwrap();
    let answer = scene.trustup(["doctor", "--json"]).run().json();
    assert!(answer["error"].is_null() && answer["search"]["files"].as_u64().unwrap() > 100, "{answer:#}");
}
