//! What the next run does, when the CA answers as it should again.

use std::fs;
use std::path::Path;

use super::hostile_ca::{Fault, HostileCa};
use super::{Scene, Way, files};

/// What may have been issued is lost; its key is not, and is that of the next certificate.
#[test]
fn the_key_of_a_lost_answer_is_used_by_the_next_run() {
    let broken = Scene::new(Fault::ClosesInTheBody, "/1.0/sign").with_old_pair();
    let run = broken.enroll(Way::Provisioner).fails(6);
    run.says(["which may have issued a certificate that is lost; the key is kept in `"]);
    let (_, place) = run.stderr.split_once("the key is kept in `").unwrap();
    let (place, promise) = place.split_once('`').unwrap();
    assert!(promise.starts_with(", and the next run uses it again"), "{run}");
    let kept = fs::read(Path::new(place).join("key.pem")).unwrap();
    let mended = Scene { directory: broken.directory, ca: HostileCa::start(Fault::None, "/") };
    mended.put("root.pem", &mended.ca.root.pem);
    mended.enroll(Way::Provisioner).ok();
    assert_eq!(fs::read(mended.path("tls/server.key")).unwrap(), kept);
}

/// The server is not the CA itself, or the CA is configured wrongly; with the CA that answers as a step-ca does, it works.
#[test]
fn an_answer_that_no_step_ca_gives_is_traced_to_its_server() {
    for (fault, hint) in [
        (Fault::HalfPem, "is this the address of a step-ca, and not a proxy that changes its answers?"),
        (Fault::LongChain, "check the intermediates in the CA's configuration"),
    ] {
        let broken = Scene::new(fault, "/1.0/sign").with_old_pair();
        let run = broken.enroll(Way::Provisioner).run();
        assert_ne!(run.code, Some(0), "{run}");
        run.says([&*format!("hint: {hint}")]);
        let mended = Scene { directory: broken.directory, ca: HostileCa::start(Fault::None, "/") };
        mended.put("root.pem", &mended.ca.root.pem);
        mended.enroll(Way::Provisioner).ok();
    }
}

/// After a fault the next run gets its certificate.
#[test]
fn the_next_run_succeeds() {
    for fault in [Fault::NeverAnswers, Fault::ClosesInTheBody, Fault::AnotherKey, Fault::Status(500)] {
        let broken = Scene::new(fault, "/1.0/sign").with_old_pair();
        broken.enroll(Way::Provisioner).run();
        let mended = Scene { directory: broken.directory, ca: HostileCa::start(Fault::None, "/") };
        mended.put("root.pem", &mended.ca.root.pem);
        let before = mended.pair();
        mended.enroll(Way::Provisioner).ok();
        assert_ne!(before, mended.pair(), "{fault:?}");
        let left = files(&mended.path("tls"));
        let keys =
            left.iter().filter(|(_, content)| String::from_utf8_lossy(content).contains("PRIVATE KEY"));
        assert_eq!(keys.count(), 1, "{fault:?}: a key is left over");
    }
}
