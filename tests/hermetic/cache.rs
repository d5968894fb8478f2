//! The cache of pinned bytes (threat T40): a container that is created again starts while its CA is down, and nothing
//! is in the cache that no hash pins, or believed because it is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::servers::{WebServer, path_of, respond};
use crate::support::ca::{self, Root};
use crate::support::dev_ca::DevCaProcess;
use crate::support::run::{Run, Trustup, unpacked};
use trustup::pki::fingerprint::Fingerprint;

/// Nobody listens there.
const DOWN: &str = "https://127.0.0.1:1";

/// Each time a new root file system, as of a container that is created again.
fn bootstrap(options: &[&str]) -> Run {
    let root = unpacked("debian-12");
    Trustup::at(root.path(), ["bootstrap", "--json"]).args(options).run()
}

fn entries(cache: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(cache) else { return Vec::new() };
    let mut names: Vec<String> = found.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn entry(cache: &Path, root: &Root) -> PathBuf {
    cache.join(format!("root-{}.pem", root.fingerprint))
}

#[test]
fn a_new_container_starts_while_the_ca_is_down() {
    let place = tempfile::tempdir().unwrap();
    // The directory need not exist.
    let cache = place.path().join("volume/trustup");
    let shown = cache.display().to_string();
    let mut ca = DevCaProcess::start(&[]);
    let (url, pin) = (ca.url().to_owned(), ca.fingerprint().to_owned());
    let with = ["--ca-url", &url, "--fingerprint", &pin, "--cache", &shown];

    let dry = bootstrap(&[&with[..], &["--dry-run"]].concat());
    assert_eq!((dry.code, entries(&cache)), (Some(0), vec![]), "{dry}");
    let first = bootstrap(&with);
    assert_eq!(first.code, Some(0), "{first}");
    let source = &first.json()["sources"][0];
    assert_eq!((&source["cache"], &source["contacted"]), (&false.into(), &true.into()), "{first}");
    assert_eq!(entries(&cache), [format!("root-{pin}.pem")]);

    ca.terminate();
    let without = bootstrap(&with[..4]);
    assert_eq!(without.code, Some(6), "{without}");
    let again = bootstrap(&with);
    assert_eq!(again.code, Some(0), "{again}");
    let source = &again.json()["sources"][0];
    assert_eq!((&source["cache"], &source["contacted"]), (&true.into(), &false.into()), "{again}");
    assert_eq!(bootstrap(&[&with[..], &["--require-fresh"]].concat()).code, Some(6));

    // Read before any server is asked, by variable, by trustup.toml, and for an address of a certificate.
    for (option, url) in [("--ca-url", DOWN), ("--root-url", "http://127.0.0.1:1/root.crt")] {
        let root = unpacked("debian-12");
        let run = Trustup::at(root.path(), ["bootstrap", option, url, "--fingerprint", &pin]);
        run.env("TRUSTUP_CACHE", &shown).ok();
    }
    let file = place.path().join("trustup.toml");
    fs::write(&file, format!("[ca]\nurl = \"{DOWN}\"\nfingerprint = [\"{pin}\"]\ncache = \"{shown}\"\n"))
        .unwrap();
    let file = file.display().to_string();
    assert_eq!(bootstrap(&["--config", &file]).code, Some(0));
    // Also where the command line names another source than the file.
    assert_eq!(bootstrap(&["--config", &file, "--ca-url", DOWN, "--fingerprint", &pin]).code, Some(0));
    let other = "ab".repeat(32);
    assert_eq!(bootstrap(&["--config", &file, "--ca-url", DOWN, "--fingerprint", &other]).code, Some(6));
}

#[test]
fn t40_only_what_a_hash_pins_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let shown = cache.display().to_string();
    // The CA's other roots, which TLS alone vouches for, and certificates of files.
    let ca = DevCaProcess::start(&[]);
    let mine = ca::root("File Root").write(place.path(), "mine.pem").display().to_string();
    let run = bootstrap(&[
        "--ca-url",
        ca.url(),
        "--fingerprint",
        ca.fingerprint(),
        "--all-roots",
        "--ca-file",
        &mine,
        "--cache",
        &shown,
    ]);
    // `--fingerprint` pins files, too: what it does not name is omitted.
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(entries(&cache), [format!("root-{}.pem", ca.fingerprint())]);

    // A bundle with a hash, and without one.
    let (one, other) = (ca::root("Bundled One"), ca::root("Bundled Two"));
    let bundle = format!("{}{}", one.pem, other.pem);
    let hash = Fingerprint::of(bundle.as_bytes()).hex();
    let server = {
        let bundle = bundle.clone();
        WebServer::http(move |head, stream| {
            assert_eq!(path_of(head), "/roots.pem");
            respond(stream, 200, &[], bundle.as_bytes())
        })
    };
    let url = format!("http://{}/roots.pem", server.address());
    let cache = place.path().join("bundles");
    let shown = cache.display().to_string();
    let run = bootstrap(&["--bundle-url", &url, "--bundle-sha256", &hash, "--cache", &shown]);
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(entries(&cache), [format!("bundle-{hash}.pem")]);
    assert_eq!(server.connections(), 1);
    let run = bootstrap(&["--bundle-url", &url, "--bundle-sha256", &hash, "--cache", &shown]);
    assert_eq!((run.code, &run.json()["sources"][0]["cache"]), (Some(0), &true.into()), "{run}");
    assert_eq!(server.connections(), 1, "the cache is read before any server is asked");
    // Another hash is another bundle.
    let wrong = "cd".repeat(32);
    let run = bootstrap(&["--bundle-url", &url, "--bundle-sha256", &wrong, "--cache", &shown]);
    assert_eq!((run.code, entries(&cache).len()), (Some(4), 1), "{run}");
}

#[test]
fn t40_an_entry_is_judged_like_bytes_from_the_network() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let shown = cache.display().to_string();
    let (root, other) = (ca::root("Cached Root"), ca::root("Another Root"));
    let pin = root.fingerprint.hex();
    let start = || bootstrap(&["--ca-url", DOWN, "--fingerprint", &pin, "--cache", &shown]);
    let path = entry(&cache, &root);
    // Put there by hand, it is good.
    fs::write(&path, &root.pem).unwrap();
    assert_eq!(start().code, Some(0));
    let planted = place.path().join("planted.pem");
    fs::write(&planted, &root.pem).unwrap();
    let spoil: [(&str, &dyn Fn()); 6] = [
        ("another root", &|| fs::write(&path, &other.pem).unwrap()),
        ("not a certificate", &|| fs::write(&path, "hello").unwrap()),
        ("cut", &|| fs::write(&path, &root.pem[..root.pem.len() / 2]).unwrap()),
        ("too large", &|| {
            fs::File::create(&path).unwrap().set_len(10 * 1024 * 1024 * 1024).unwrap();
        }),
        ("a FIFO", &|| {
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }),
        ("a directory", &|| fs::create_dir(&path).unwrap()),
    ];
    for (what, spoil) in spoil {
        let _ = fs::remove_file(&path);
        spoil();
        let run = start();
        assert_eq!(run.code, Some(6), "{what}: {run}");
        run.says(["the cache's entry"]);
    }
    fs::remove_dir(&path).unwrap();
    // An entry is a file, whatever a link leads to.
    symlink(&planted, &path).unwrap();
    assert_eq!(start().code, Some(6), "a link");

    // What is spoiled is written again when the CA is there, and nothing is written through the link.
    let ca = DevCaProcess::start(&[]);
    let path = cache.join(format!("root-{}.pem", ca.fingerprint()));
    let target = place.path().join("target");
    fs::write(&target, "theirs").unwrap();
    symlink(&target, &path).unwrap();
    let run = bootstrap(&["--ca-url", ca.url(), "--fingerprint", ca.fingerprint(), "--cache", &shown]);
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(&path).unwrap(), fs::read(ca.root_file()).unwrap());

    // The clock counts as always.
    let mut params = ca::root_params("Expired Root");
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = ca::root_with(params);
    fs::write(entry(&cache, &expired), &expired.pem).unwrap();
    let pin = expired.fingerprint.hex();
    let with = ["--ca-url", DOWN, "--fingerprint", &pin, "--cache", &shown];
    let run = bootstrap(&with);
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["expired"]);
    assert_eq!(bootstrap(&[&with[..], &["--allow-expired"]].concat()).code, Some(0));
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let ca = DevCaProcess::start(&[]);
    let with = ["--ca-url", ca.url(), "--fingerprint", ca.fingerprint(), "--cache"];
    let run = bootstrap(&[&with[..], &["/proc/cache"]].concat());
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["warning:", "could not keep the pinned roots in the cache `/proc/cache`"]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let run = bootstrap(&[&with[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["`--cache` needs a directory"]);
}

/// A pair on a volume whose record is lost is judged by the pinned root.
#[test]
fn enroll_and_token_use_the_cache_too() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    let mut ca = DevCaProcess::start(&[]);
    let (url, pin) = (ca.url().to_owned(), ca.fingerprint().to_owned());
    let password = ca.password_file().display().to_string();
    let (cert, key, cache) = (at("a.crt"), at("a.key"), at("cache"));
    let enroll = |cache: &[&str]| {
        let run = Trustup::new([
            "--timeout",
            "3s",
            "enroll",
            "provisioner",
            "a.test",
            "--cert",
            &cert,
            "--key",
            &key,
        ]);
        let run = run.args(["--ca-url", &url, "--fingerprint", &pin, "--password-file", &password]);
        run.args(["--provisioner", "dev"]).args(cache).run()
    };
    let first = enroll(&["--cache", &cache]);
    assert_eq!(first.code, Some(0), "{first}");
    assert_eq!(entries(Path::new(&cache)), [format!("root-{pin}.pem")]);
    ca.terminate();
    // The record beside the key.
    for name in entries(place.path()).iter().filter(|name| name.starts_with('.')) {
        fs::remove_dir_all(place.path().join(name)).unwrap();
    }
    let without = enroll(&[]);
    assert_ne!(without.code, Some(0), "{without}");
    let with = enroll(&["--cache", &cache]);
    assert_eq!(with.code, Some(0), "{with}");
}
