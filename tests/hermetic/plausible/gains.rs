//! Roots that an output gains and that nobody asked for (threat T33).

use super::*;

/// An anchor file of the image, which the distribution's own program never processed.
fn dormant(image: &Image) -> String {
    let path = format!("{ANCHORS}/corp.crt");
    image.lay(&path, &image.evil.pem);
    path
}

#[test]
fn t33_a_dormant_anchor_is_named() {
    for without_openat2 in [false, true] {
        let image = Image { without_openat2, ..Image::new("debian-12") };
        let path = dormant(&image);
        let foretold = image.bootstrap().args(["--dry-run", "--json"]).ok();
        assert_eq!(gained(&foretold), BTreeSet::from([image.evil.pin()]), "{foretold}");
        foretold.says(["warning: ", "CN=Evil", &image.evil.pin(), &path]);
        let run = image.bootstrap().arg("--json").ok();
        assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
        run.says(["warning: ", "CN=Evil", &image.evil.pin(), &path]);
        let gain = &run.json()["gained"][0];
        assert!(gain["origin"].as_str().unwrap().contains(&path), "{gain}");
        assert!(gain["subject"].as_str().unwrap().contains("Evil"), "{gain}");
        assert!(gain["path"].as_str().unwrap().starts_with("/etc/ssl/certs"), "{gain}");
        // It is trusted now: the next run gains nothing.
        let again = image.bootstrap().arg("--json").ok();
        assert!(gained(&again).is_empty(), "{again}");
    }
}

#[test]
fn t33_with_require_pin_a_dormant_anchor_is_an_error_before_the_first_change() {
    let image = Image::new("debian-12");
    let path = dormant(&image);
    let before = image.tree();
    for dry in [true, false] {
        let run = image.bootstrap().arg("--require-pin");
        let run = if dry { run.arg("--dry-run") } else { run }.fails(4);
        run.says(["CN=Evil", &image.evil.pin(), &path, "hint: "]);
        assert!(!run.stderr.contains("now trusted"), "{run}");
        before.assert_same(&image.tree(), "refused");
    }
    // Each hint works: the root is named and pinned, or its file is removed.
    let named =
        image.bootstrap().args(["--require-pin", "--json", "--fingerprint", &image.evil.pin(), "--ca-file"]);
    let named = named.arg(image.at(&path)).ok();
    assert!(gained(&named).is_empty(), "{named}");
    let other = Image::new("debian-12");
    let path = dormant(&other);
    fs::remove_file(other.at(&path)).unwrap();
    other.bootstrap().arg("--require-pin").ok();
}

/// A file that programs cannot read gives its root to the outputs as a normalized copy.
#[test]
fn t33_the_copy_of_a_broken_file_is_a_gain() {
    let image = Image::new("debian-12");
    let path = format!("{ANCHORS}/broken.crt");
    image.lay(&path, format!("text {}", image.evil.pem));
    let run = image.bootstrap().arg("--json").ok();
    assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
    run.says([&*image.evil.pin(), &path]);
    let other = Image::new("debian-12");
    other.lay(&path, format!("text {}", other.evil.pem));
    other.bootstrap().arg("--require-pin").fails(4).says([&*other.evil.pin(), &path]);
}

/// A root in a part of the bundle that no program can read becomes trusted when the bundle is written anew.
#[test]
fn t33_a_root_in_a_damaged_block_of_the_bundle_is_a_gain() {
    let image = Image::new("alpine-3.9");
    let bundle = fs::read_to_string(image.at("/etc/ssl/cert.pem")).unwrap();
    image.lay("/etc/ssl/cert.pem", format!("{bundle}text {}", image.evil.pem.trim_end()));
    let run = image.bootstrap().arg("--json").run();
    assert!(image.held("/etc/ssl/cert.pem").contains(&image.evil.fingerprint), "{run}");
    assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
    run.says(["CN=Evil", "damaged part"]);
}

/// An anchor of an earlier run that is still in one store, and comes into the others again.
#[test]
fn t33_what_only_the_state_knows_is_named() {
    let image = Image::new("debian-12");
    let source = "https://ca.corp.example:9000/";
    image.plant_state(&[anchor(&image.evil, "installed", source)], &[]);
    // In a bundle that one program reads, and nowhere else.
    image.lay("/kaniko/ssl/certs/ca-certificates.crt", &image.evil.pem);
    let before = image.tree();
    image.bootstrap().arg("--require-pin").fails(4).says([&image.evil.pin(), source, "hint: "]);
    before.assert_same(&image.tree(), "refused");
    let run = image.bootstrap().arg("--json").ok();
    assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
    run.says([&image.evil.pin(), source]);
}

/// Nothing is called a gain where nothing is: neither the vendor's roots in an output that is made anew, nor what was
/// asked for.
#[test]
fn t33_what_was_asked_for_is_no_gain() {
    for fixture in fs::read_dir(crate::support::run::fixtures()).unwrap() {
        let fixture = fixture.unwrap();
        if !fixture.path().join("manifest.txt").is_file() {
            continue;
        }
        let name = fixture.file_name().into_string().unwrap();
        let image = Image::new(&name);
        let run = image.bootstrap().args(["--json", "--require-pin"]).run();
        // A fixture that cannot be changed says so elsewhere.
        if run.code == Some(0) {
            assert!(gained(&run).is_empty(), "{name}: {run}");
            let run = image.trustup(["untrust", "--all", "--json"]).ok();
            assert!(gained(&run).is_empty(), "{name}: {run}");
        } else {
            assert!(!run.stderr.contains("would also trust"), "{name}: {run}");
        }
    }
}
