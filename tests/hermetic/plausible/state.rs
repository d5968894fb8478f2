//! A forged state: an anchor that is in no store, a former content that was never there, a path that is no store.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

/// How the vendor forges the state; the stores hold nothing of the evil root.
const MODES: [&str; 8] =
    ["anchor", "beside", "record", "bundle", "swap", "link", "hash link", "anchor and record"];

fn plant(image: &Image, mode: &str) {
    let evil = image.evil.pem.as_bytes();
    let now = fs::read(image.at(BUNDLE)).unwrap();
    let source = "https://ca.corp.example:9000/";
    let removed = |content: &[u8]| json!({ "before": saved(content, 0o644, 0), "after": "absent" });
    let changed = |content: &[u8], mode, owner| json!({ "before": saved(content, mode, owner), "after": image.mark(BUNDLE) });
    let file = format!("{ANCHORS}/vendor-fix.crt");
    match mode {
        "anchor" => image.plant_state(&[anchor(&image.evil, "installed", source)], &[]),
        "beside" => image.plant_state(&[anchor(&image.evil, "beside", source)], &[]),
        "record" => image.plant_state(&[], &[(&file, removed(evil))]),
        "bundle" => {
            let both = [&now[..], evil].concat();
            image.plant_state(&[], &[(BUNDLE, changed(&both, 0o666, 1000))]);
        }
        "swap" => image.plant_state(&[], &[(BUNDLE, changed(evil, 0o644, 0))]),
        "link" => {
            image.lay("/usr/share/doc/roots.txt", evil);
            let before = json!({ "link": { "target": "/usr/share/doc/roots.txt" } });
            image.plant_state(&[], &[(BUNDLE, json!({ "before": before, "after": image.mark(BUNDLE) }))]);
        }
        "hash link" => {
            image.lay("/usr/share/doc/roots.txt", evil);
            let hash = trustup::pki::cert::Certificate::from_der(&image.evil.der).unwrap().subject_hash();
            let before = json!({ "link": { "target": "/usr/share/doc/roots.txt" } });
            let path = format!("/etc/ssl/certs/{hash:08x}.0");
            image.plant_state(&[], &[(&path, json!({ "before": before, "after": "absent" }))]);
        }
        "anchor and record" => {
            let file = format!("{ANCHORS}/Evil.crt");
            let record = removed(evil);
            image.plant_state(&[anchor(&image.evil, "mounted", source)], &[(&file, record)]);
        }
        other => panic!("{other}"),
    }
}

/// The files of the image that hold the evil root where no program reads it.
fn unread(paths: Vec<String>) -> Vec<String> {
    paths.into_iter().filter(|path| !path.starts_with("usr/share/doc/")).collect()
}

#[test]
fn t34_a_forged_state_makes_no_root_trusted() {
    for without_openat2 in [false, true] {
        for mode in MODES {
            for pinned in [false, true] {
                let when = format!("{mode}, --require-pin {pinned}, without openat2 {without_openat2}");
                let image = Image { without_openat2, ..Image::new("debian-12") };
                let first = image.held(BUNDLE);
                plant(&image, mode);
                let meta = fs::metadata(image.at(BUNDLE)).unwrap();
                let run = image.bootstrap().arg("--json");
                let run = if pinned { run.arg("--require-pin") } else { run }.ok();
                assert!(unread(image.holds(&image.evil)).is_empty(), "{when}: {run}");
                let mut wanted = first.clone();
                wanted.insert(image.good.fingerprint);
                assert_eq!(image.held(BUNDLE), wanted, "{when}: {run}");
                assert!(gained(&run).is_empty(), "{when}: {run}");
                assert!(run.stderr.contains("warning: ") && run.stderr.contains("record"), "{when}: {run}");
                let again = image.bootstrap().ok();
                assert!(unread(image.holds(&image.evil)).is_empty(), "{when}: {again}");
                let untrusted = image.untrust().ok();
                assert!(unread(image.holds(&image.evil)).is_empty(), "{when}: {untrusted}");
                assert_eq!(image.held(BUNDLE), first, "{when}: {untrusted}");
                let after = fs::metadata(image.at(BUNDLE)).unwrap();
                assert_eq!((after.mode(), after.uid()), (meta.mode(), meta.uid()), "{when}");
                assert!(!image.at(STATE).exists(), "{when}");
            }
        }
    }
}

#[test]
fn t34_a_forged_state_brings_nothing_back_when_it_is_untrusted_at_once() {
    for mode in MODES {
        let image = Image::new("debian-12");
        let first = image.held(BUNDLE);
        plant(&image, mode);
        let before = image.tree();
        for command in [&["status"][..], &["untrust", "--all", "--dry-run"], &["detect"], &["doctor"]] {
            let run = image.trustup(command.iter().copied()).run();
            assert!(run.code.is_some_and(|code| code < 7), "{mode}: {run}");
            before.assert_same(&image.tree(), &format!("{mode}: {run}"));
        }
        let untrusted = image.untrust().ok();
        assert!(unread(image.holds(&image.evil)).is_empty(), "{mode}: {untrusted}");
        assert_eq!(image.held(BUNDLE), first, "{mode}: {untrusted}");
        assert!(!image.at(STATE).exists(), "{mode}: {untrusted}");
    }
}

#[test]
fn t34_a_dry_run_and_status_name_what_is_not_believed() {
    for mode in MODES {
        let image = Image::new("debian-12");
        plant(&image, mode);
        let before = image.tree();
        let run = image.bootstrap().args(["--dry-run", "--json"]).ok();
        assert!(run.stderr.contains("record"), "{mode}: {run}");
        assert!(gained(&run).is_empty(), "{mode}: {run}");
        let plan = run.json()["plan"].to_string();
        assert!(!plan.contains("Evil") && !plan.contains("vendor-fix"), "{mode}: {run}");
        let status = image.trustup(["status", "--json"]).run();
        assert!(status.code == Some(4) || mode == "beside", "{status}");
        let anchors = ["anchor", "beside", "anchor and record"].contains(&mode);
        assert!(anchors || status.stderr.contains("record"), "{mode}: {status}");
        before.assert_same(&image.tree(), mode);
    }
}

/// An anchor that is in none of its outputs is not installed again, and stays on record; named again, it is installed.
#[test]
fn t34_an_anchor_that_is_in_no_store_is_reported_and_installed_only_when_it_is_named() {
    let image = Image::new("debian-12");
    plant(&image, "anchor");
    let run = image.bootstrap().ok();
    run.says(["Evil", &image.evil.pin(), "https://ca.corp.example:9000/"]);
    image.evil.write(image.given.path(), "evil.pem");
    let named =
        image.trustup(["bootstrap", "--json", "--ca-file"]).arg(image.given.path().join("evil.pem")).ok();
    assert!(gained(&named).is_empty(), "asked for: {named}");
    assert!(image.held(BUNDLE).contains(&image.evil.fingerprint), "{named}");
    image.untrust().ok();
    assert!(!image.held(BUNDLE).contains(&image.evil.fingerprint));
}

/// The path counts as a store only if what is there is one, whatever link leads there.
#[test]
fn t34_a_link_to_another_file_makes_it_no_store() {
    let shadow = b"root:*:19000:0:99999:7:::\n";
    let planted = b"root::19000:0:99999:7:::\n";
    for link in
        ["/etc/pki/java/cacerts", "/etc/ssl/cert.pem", "/etc/pki/tls/cacert.pem", "/etc/ssl1.1/cert.pem"]
    {
        for via in [false, true] {
            for (mode, before) in [
                (0o666, saved(planted, 0o666, 1000)),
                (0o640, saved(planted, 0o640, 0)),
                (0, json!("absent")),
            ] {
                let image = Image::new("debian-12");
                image.lay("/etc/shadow", shadow);
                fs::set_permissions(image.at("/etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
                image.lay(link, b"");
                fs::remove_file(image.at(link)).unwrap();
                symlink("/etc/shadow", image.at(link)).unwrap();
                let mut record = json!({ "before": before, "after": image.mark("/etc/shadow") });
                if via {
                    record["via"] = json!(link);
                }
                image.plant_state(&[], &[("/etc/shadow", record)]);
                let meta = fs::metadata(image.at("/etc/shadow")).unwrap();
                let unchanged = |run: &Run| {
                    let when = format!("{link}, via {via}, mode {mode:o}: {run}");
                    assert_eq!(fs::read(image.at("/etc/shadow")).unwrap(), shadow, "{when}");
                    let now = fs::metadata(image.at("/etc/shadow")).unwrap();
                    assert_eq!(
                        (now.mode(), now.uid(), now.ino()),
                        (meta.mode(), meta.uid(), meta.ino()),
                        "{when}"
                    );
                    assert!(run.code.is_some_and(|code| code < 7), "{when}");
                };
                unchanged(&image.trustup(["status"]).run());
                unchanged(&image.bootstrap().run());
                unchanged(&image.untrust().run());
            }
        }
    }
}

/// A bundle behind a known link is a store: only certificates may differ from what is there.
#[test]
fn t34_text_around_certificates_is_not_brought_back_behind_a_link() {
    let image = Image::new("debian-12");
    let vendor = ca::root("Vendor");
    let now = format!("# roots\n{}", vendor.pem);
    let planted = format!("root::0:0::/root:/bin/sh\n{}", vendor.pem);
    image.lay("/opt/roots.pem", &now);
    image.lay("/etc/ssl1.1/cert.pem", b"");
    fs::remove_file(image.at("/etc/ssl1.1/cert.pem")).unwrap();
    symlink("/opt/roots.pem", image.at("/etc/ssl1.1/cert.pem")).unwrap();
    let record =
        json!({ "before": saved(planted.as_bytes(), 0o644, 0), "after": image.mark("/opt/roots.pem") });
    image.plant_state(&[], &[("/opt/roots.pem", record)]);
    image.untrust().run();
    assert_eq!(fs::read_to_string(image.at("/opt/roots.pem")).unwrap(), now);
}

/// What trustup itself replaced comes back, byte for byte, but with no mode or owner that the file does not have now.
#[test]
fn t34_a_mode_of_the_state_adds_no_right() {
    let image = Image::new("debian-12");
    image.bootstrap().ok();
    let mut state: Value = serde_json::from_slice(&fs::read(image.at(STATE)).unwrap()).unwrap();
    let before = &mut state["records"][BUNDLE]["before"]["file"];
    assert!(before["mode"].is_number(), "{state:#}");
    before["mode"] = json!(0o666);
    before["owner"] = json!([1000, 1000]);
    image.plant(STATE, &state);
    let meta = fs::metadata(image.at(BUNDLE)).unwrap();
    let run = image.untrust().ok();
    run.says(["0666"]);
    let now = fs::metadata(image.at(BUNDLE)).unwrap();
    assert_eq!((now.mode() & 0o7777, now.uid(), now.gid()), (meta.mode() & 0o7777, meta.uid(), meta.gid()));
    assert!(!image.held(BUNDLE).contains(&image.good.fingerprint));
}
