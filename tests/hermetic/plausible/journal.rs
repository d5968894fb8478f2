//! A forged journal "of a killed run", and what recovery of a real one brings back.

use super::*;

fn journal(steps: &[Value], state: Option<&Value>) -> Value {
    json!({
        "row": "debian", "made": [], "steps": steps, "watched": [], "directories": [], "leftovers": [],
        "state": state.map(Value::to_string),
    })
}

fn step(path: &str, before: &Value, after: &Value) -> Value {
    json!({ "path": path, "temporary": ".trustup-0.tmp", "record": { "before": before, "after": after } })
}

/// An anchor file that never was there; a bundle with one root more; only that root; a link to it.
fn forgeries(image: &Image) -> Vec<(&'static str, Value)> {
    let evil = image.evil.pem.as_bytes();
    let now = fs::read(image.at(BUNDLE)).unwrap();
    let both = [&now[..], evil].concat();
    image.lay("/usr/share/doc/roots.txt", evil);
    let link = json!({ "link": { "target": "/usr/share/doc/roots.txt" } });
    vec![
        ("anchor file", step(&format!("{ANCHORS}/vendor-fix.crt"), &saved(evil, 0o644, 0), &json!("absent"))),
        ("bundle", step(BUNDLE, &saved(&both, 0o666, 1000), &image.mark(BUNDLE))),
        ("swap", step(BUNDLE, &saved(evil, 0o644, 0), &image.mark(BUNDLE))),
        ("link", step(BUNDLE, &link, &image.mark(BUNDLE))),
    ]
}

fn unread(paths: Vec<String>) -> Vec<String> {
    paths.into_iter().filter(|path| !path.starts_with("usr/share/doc/")).collect()
}

#[test]
fn t34_a_forged_journal_brings_no_root() {
    for without_openat2 in [false, true] {
        for number in 0..4 {
            for command in ["bootstrap", "pinned", "untrust"] {
                let image = Image { without_openat2, ..Image::new("debian-12") };
                let first = image.held(BUNDLE);
                let (name, step) = forgeries(&image).swap_remove(number);
                image.plant(JOURNAL, &journal(&[step], None));
                let when = format!("{name}, {command}, without openat2 {without_openat2}");
                let run = match command {
                    "bootstrap" => image.bootstrap().arg("--json").ok(),
                    "pinned" => image.bootstrap().args(["--json", "--require-pin"]).ok(),
                    _ => image.trustup(["untrust", "--all", "--json"]).ok(),
                };
                assert!(unread(image.holds(&image.evil)).is_empty(), "{when}: {run}");
                assert!(gained(&run).is_empty(), "{when}: {run}");
                run.says(["warning: ", "journal"]);
                image.untrust().ok();
                assert_eq!(image.held(BUNDLE), first, "{when}");
                assert!(unread(image.holds(&image.evil)).is_empty(), "{when}");
            }
        }
    }
}

/// A journal whose own former state records the root looks like that of a killed `untrust`: it is turned back, and the
/// root is named; with `--require-pin` it is an error before anything is turned back.
#[test]
fn t33_what_a_journal_brings_back_is_named() {
    let image = Image::new("debian-12");
    let evil = image.evil.pem.as_bytes();
    let both = [&fs::read(image.at(BUNDLE)).unwrap()[..], evil].concat();
    let state = json!({
        "schema": 1, "row": "debian", "web_pki": false, "sources": {}, "records": {},
        "anchors": [anchor(&image.evil, "installed", "https://ca.corp.example:9000/")],
    });
    let steps = [
        step(BUNDLE, &saved(&both, 0o644, 0), &image.mark(BUNDLE)),
        step(&format!("{ANCHORS}/Evil.crt"), &saved(evil, 0o644, 0), &json!("absent")),
    ];
    image.plant(JOURNAL, &journal(&steps, Some(&state)));
    let before = image.tree();
    let refused = image.bootstrap().arg("--require-pin").fails(4);
    refused.says([&image.evil.pin(), "journal", "hint: "]);
    before.assert_same(&image.tree(), "refused");
    let foretold = image.bootstrap().args(["--dry-run", "--json"]).ok();
    assert_eq!(gained(&foretold), BTreeSet::from([image.evil.pin()]), "{foretold}");
    before.assert_same(&image.tree(), "dry run");
    let run = image.bootstrap().arg("--json").ok();
    assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
    run.says([&image.evil.pin(), "journal"]);
    let untrusted = image.untrust().ok();
    assert_eq!(unread(image.holds(&image.evil)), Vec::<String>::new(), "{untrusted}");
}

/// The hint of the error works: `untrust` first, then the pinned run.
#[test]
fn t33_a_killed_untrust_is_in_the_way_of_require_pin_until_it_is_run_again() {
    let image = Image::new("debian-12");
    image.evil.write(image.given.path(), "other.pem");
    let other =
        |image: &Image| image.trustup(["bootstrap", "--ca-file"]).arg(image.given.path().join("other.pem"));
    other(&image).ok();
    let killed = image.untrust().killed_before("record", "state.json").run();
    assert_eq!(killed.code, None, "{killed}");
    let refused = image.bootstrap().arg("--require-pin").fails(4);
    refused.says([&image.evil.pin(), "`trustup untrust --all` undoes the killed run"]);
    image.untrust().ok();
    image.bootstrap().arg("--require-pin").ok();
    assert!(image.holds(&image.evil).is_empty());
}
