//! The ACME account's file, and what `dev-ca` keeps.

use std::fs;

use serde_json::json;

use super::{FUTURE, filled, future, read_json, refuses, template, write_json};
use crate::acme::command::Place;
use crate::acme::server::{AcmeServer, Instead, problem, usual};
use crate::acme::{FINISHED, honest};
use crate::support::dev_ca::DevCaProcess;
use crate::support::enrollment::{mode, write};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

/// The account's file as the version `name` wrote it, from the one that is there now.
fn as_version(name: &str, now: &str) -> String {
    let said = |field: &str| now.lines().find_map(|line| line.strip_prefix(field)).expect(field).to_owned();
    template(name)
        .replace("{{directory}}", &said("Directory: "))
        .replace("{{account}}", &said("Account: "))
        .replace("{{key}}", &now[now.find("-----BEGIN").expect("a key")..])
}

#[test]
fn every_version_of_an_account_is_used() {
    for name in ["acme-account-1-first.pem", "acme-account-1.pem"] {
        let server = honest();
        let place = Place::at(&server);
        let account = place.path("account.pem");
        let enroll = || place.enroll().arg("--account-key").arg(&account);
        enroll().fails(4).says([FINISHED]);
        let now = fs::read_to_string(&account).expect("account");
        let planted = as_version(name, &now);
        assert_eq!(planted == now, name == "acme-account-1.pem", "the newest version is what is written");
        write(&account, planted.as_bytes(), 0o600);
        enroll().arg("-v").fails(4).says([FINISHED, "using the account that was kept"]);
        assert_eq!(server.count("/account"), 1, "{name}: no other account was made");
        assert_eq!(fs::read_to_string(&account).expect("account"), planted);
    }
}

#[test]
fn every_version_of_an_order_in_progress_is_resumed_and_a_newer_one_refused() {
    let server = AcmeServer::start(|asked, _| {
        // No order is ever finished.
        let hangs = asked.path == "/finalize";
        hangs.then(|| Instead::Text(504, "text/html", "<html>".to_owned()))
    });
    let place = Place::at(&server);
    let enroll = || place.enroll().args(["-v", "--not-after", "2040-02-03T04:05:06Z"]);
    enroll().fails(6);
    let file = place.path(".tls.key.trustup/order.json");
    let now = read_json(&file);
    let planted = filled("acme-order-1.json", &|placeholder| now[placeholder].clone());
    assert_eq!(planted, now, "the newest version is what is written");
    // Fields of a newer trustup do no harm, and stay while the order does.
    let mut planted = planted;
    planted[FUTURE] = future();
    write_json(&file, &planted);
    enroll().fails(6).says(["resuming the order of an earlier run"]);
    assert_eq!((server.count("/order"), read_json(&file)), (1, planted.clone()));
    planted["schema"] = json!(99);
    write_json(&file, &planted);
    let asked = server.asked().len();
    refuses(&enroll().fails(1), &file, 1);
    assert_eq!((server.asked().len(), read_json(&file)), (asked, planted), "nobody is asked, and it stays");
}

#[test]
fn t38_unknown_lines_of_an_account_are_kept_with_its_key() {
    // The server has lost its accounts: the same key gets another one.
    let server = AcmeServer::start(|asked, base| {
        let old = asked.path == "/order"
            && asked.protected["kid"].as_str().is_some_and(|kid| kid.ends_with("/old"));
        Some(match old {
            true => Instead::Json(400, problem("accountDoesNotExist", "no such account")),
            false => usual(asked, base),
        })
    });
    let place = Place::at(&server);
    let account = place.path("account.pem");
    let enroll = || place.enroll().arg("--account-key").arg(&account);
    enroll().fails(4).says([FINISHED]);
    let now = fs::read_to_string(&account).expect("account");
    let lost = now.replace("/account/1\n", "/old\nFuture: kept, whatever it is\n");
    assert_ne!(lost, now);
    write(&account, lost.as_bytes(), 0o600);
    enroll().fails(4).says([FINISHED]);
    let wanted = now.replace("/account/1\n", "/account/1\nFuture: kept, whatever it is\n");
    assert_eq!(fs::read_to_string(&account).expect("account"), wanted);
    assert_eq!(mode(&account), 0o600);
}

#[test]
fn t38_a_newer_account_is_refused() {
    let server = honest();
    let place = Place::at(&server);
    let account = place.path("account.pem");
    place.enroll().arg("--account-key").arg(&account).fails(4);
    let now = fs::read_to_string(&account).expect("account");
    let accounts = server.count("/account");
    for newer in [
        now.replace("Version: 1\n", "Version: 99\n"),
        // Whatever else changed with it.
        "A line of a newer trustup.\nVersion: 99\n-----BEGIN SEALED KEY-----\nAA==\n-----END SEALED KEY-----\n"
            .to_owned(),
    ] {
        assert_ne!(newer, now);
        write(&account, newer.as_bytes(), 0o600);
        let before = Tree::of(place.directory.path());
        let run = place.enroll().arg("--account-key").arg(&account).fails(1);
        refuses(&run, &account, 1);
        before.assert_same(&Tree::of(place.directory.path()), &format!("{run}"));
    }
    // The one beside the pair's key, too.
    place.enroll().fails(4);
    let beside = place.path(".tls.key.trustup");
    let file = fs::read_dir(&beside).expect("directory").next().expect("account").expect("entry").path();
    let text = fs::read_to_string(&file).expect("account").replace("Version: 1\n", "Version: 99\n");
    fs::write(&file, text).expect("account");
    let before = Tree::of(place.directory.path());
    let run = place.enroll().fails(1);
    refuses(&run, &file, 1);
    before.assert_same(&Tree::of(place.directory.path()), &format!("{run}"));
    assert_eq!(server.count("/account"), accounts + 1);
}

#[test]
fn every_version_of_dev_ca_is_the_same_ca() {
    let mut ca = DevCaProcess::start(&[]);
    let fingerprint = ca.fingerprint().to_owned();
    let file = ca.state().join("ca.json");
    assert_eq!(ca.terminate(), Some(0));
    let now = read_json(&file);
    let mut kept = filled("dev-ca-1.json", &|placeholder| now[placeholder].clone());
    assert_eq!(kept, now, "the newest version is what is written");
    let second = ["dev-ca", "--listen", "127.0.0.1:0", "--state"];
    for version in [Some(json!(1)), None] {
        match version {
            Some(version) => kept["version"] = version,
            None => drop(kept.as_object_mut().expect("an object").remove("version")),
        }
        for object in ["", "/provisioner", "/provisioner/key"] {
            kept.pointer_mut(object).expect(object)[FUTURE] = future();
        }
        write_json(&file, &kept);
        ca.start_again(&[]);
        assert_eq!(ca.fingerprint(), fingerprint);
        assert_eq!(ca.terminate(), Some(0));
        assert_eq!(read_json(&file), kept, "it stays as it is");
    }
    let password = now["password"].as_str().expect("text");
    let mut newer = json!({ "version": 99, "root": { "sealed": password } });
    for refused in [true, false] {
        if !refused {
            // Damage, and not a newer version: neither shows what is in the file.
            newer["version"] = json!(1);
        }
        write_json(&file, &newer);
        let before = Tree::of(&ca.state());
        let run = Trustup::new(second).arg(ca.state()).fails(1);
        match refused {
            true => refuses(&run, &file, 1),
            false => drop(run.says(["it is no state of ours", "take the directory away"])),
        }
        assert!(!run.stderr.contains(password), "{run}");
        before.assert_same(&Tree::of(&ca.state()), &format!("{run}"));
    }
}
