//! Which source gave what: two addresses that differ in their query alone are two sources, and every root that goes is
//! named.

use super::*;
use crate::servers::{WebServer, path_of, respond};

struct Bundles {
    image: Image,
    server: WebServer,
    bodies: [String; 2],
}

impl Bundles {
    /// Two bundles at one address, told apart by the query.
    fn new() -> Bundles {
        let image = Image::new("debian-12");
        let bodies = [image.good.pem.clone(), image.evil.pem.clone()];
        let served = bodies.clone();
        let server = WebServer::http(move |head, stream| {
            let body = if path_of(head).ends_with("=1") { &served[0] } else { &served[1] };
            respond(stream, 200, &[], body.as_bytes())
        });
        Bundles { image, server, bodies }
    }

    fn bootstrap(&self, path: &str, body: &str) -> Trustup {
        let hash = Fingerprint::of(body.as_bytes()).hex();
        self.image.trustup([
            "bootstrap",
            "--json",
            "--bundle-sha256",
            &hash,
            "--bundle-url",
            &self.server.url(path),
        ])
    }
}

#[test]
fn t5_bundles_that_differ_in_their_query_are_two_sources() {
    let scene = Bundles::new();
    let image = &scene.image;
    let first = scene.bootstrap("/roots.pem?set=1", &scene.bodies[0]).ok();
    let second = scene.bootstrap("/roots.pem?set=2", &scene.bodies[1]).ok();
    let held = image.held(BUNDLE);
    assert!(held.contains(&image.good.fingerprint) && held.contains(&image.evil.fingerprint), "{second}");
    assert_eq!(second.json()["removed"], json!([]));
    let id = |run: &Run| run.json()["sources"][0]["id"].as_str().unwrap().to_owned();
    assert_ne!(id(&first), id(&second));
    for run in [&first, &second] {
        assert!(!run.stdout.contains("set=") && !run.stderr.contains("set="), "the query is masked: {run}");
    }
    let state = fs::read_to_string(image.at(STATE)).unwrap();
    assert!(!state.contains("set="), "{state}");
    // A password is no part of the name, not even as a hash.
    let with = |password: &str| {
        let url = scene.server.url("/roots.pem?set=1").replace("://", &format!("://user:{password}@"));
        let source = trustup::trust::source::Source::Bundle { url, sha256: None };
        source.id().unwrap()
    };
    assert_eq!(with("one"), with("two"));
    image.untrust().ok();
}

/// A root that left the bundle is named when it goes, and before.
#[test]
fn t5_every_root_that_leaves_a_bundle_is_named() {
    let scene = Bundles::new();
    let image = &scene.image;
    let both = format!("{}{}", scene.bodies[0], scene.bodies[1]);
    let served = std::sync::Arc::new(std::sync::Mutex::new(both.clone()));
    let body = std::sync::Arc::clone(&served);
    let server = WebServer::http(move |_, stream| respond(stream, 200, &[], body.lock().unwrap().as_bytes()));
    let bootstrap = |body: &str| {
        let hash = Fingerprint::of(body.as_bytes()).hex();
        image.trustup([
            "bootstrap",
            "--json",
            "--bundle-sha256",
            &hash,
            "--bundle-url",
            &server.url("/r.pem"),
        ])
    };
    bootstrap(&both).ok();
    served.lock().unwrap().clone_from(&scene.bodies[0]);
    for dry in [true, false] {
        let run = bootstrap(&scene.bodies[0]);
        let run = if dry { run.arg("--dry-run") } else { run }.ok();
        assert_eq!(run.json()["removed"][0]["fingerprint"], image.evil.pin(), "{run}");
        assert_eq!(run.json()["removed"].as_array().unwrap().len(), 1, "{run}");
        run.says(["CN=Evil", &image.evil.pin(), "/r.pem"]);
    }
    assert!(!image.held(BUNDLE).contains(&image.evil.fingerprint));
}

/// What an older version recorded under the masked URL alone goes on with the source that still gives it.
#[test]
fn t5_a_source_that_an_older_version_recorded_keeps_its_roots() {
    let scene = Bundles::new();
    let image = &scene.image;
    scene.bootstrap("/roots.pem?set=1", &scene.bodies[0]).ok();
    let old = scene.server.url("/roots.pem?***");
    let mut state: Value = serde_json::from_slice(&fs::read(image.at(STATE)).unwrap()).unwrap();
    let sources = state["sources"].as_object_mut().unwrap();
    let (new, stored) = sources.iter().next().map(|(name, stored)| (name.clone(), stored.clone())).unwrap();
    assert_ne!(new, old, "the case changes nothing");
    sources.remove(&new);
    sources.insert(old.clone(), stored);
    state["anchors"][0]["sources"] = json!([old]);
    image.plant(STATE, &state);
    // Another set at that address is another source: nothing goes.
    let other = scene.bootstrap("/roots.pem?set=2", &scene.bodies[1]).ok();
    assert_eq!(other.json()["removed"], json!([]), "{other}");
    assert!(image.held(BUNDLE).contains(&image.good.fingerprint));
    let same = scene.bootstrap("/roots.pem?set=1", &scene.bodies[0]).ok();
    let state: Value = serde_json::from_slice(&fs::read(image.at(STATE)).unwrap()).unwrap();
    assert!(state["sources"][&old].is_null() && state["sources"][&new].is_object(), "{same}\n{state:#}");
    assert_eq!(state["anchors"][0]["sources"], json!([new]), "{state:#}");
}
