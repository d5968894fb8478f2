//! What doctor says of a server is what each real client does with it: every scene of [`scenes`], every client.

mod advice;
mod certificates;
mod scenes;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use self::certificates::{Draft, Made, Maker};
use self::scenes::{HOSTS, Scene, scenes};
use serde_json::Value;

use crate::clients::go_client;
use crate::support::java::compile_client;
use crate::support::program::copy_program;
use crate::support::roots::{self, Base, RootFs};

/// The real server of a scene.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(directory: &Path, scene: &str, leaf: &Made, chain: &[&Made]) -> Server {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert"]).arg(&leaf.certificate);
        command.arg("-key").arg(&leaf.key);
        // What a server of today would not sign with, this one does.
        command.args(["-cipher", "ALL:@SECLEVEL=0"]);
        if !chain.is_empty() {
            let all: Vec<u8> =
                chain.iter().flat_map(|made| std::fs::read(&made.certificate).unwrap()).collect();
            let file = directory.join(format!("{scene}-sent.pem"));
            std::fs::write(&file, all).unwrap();
            command.arg("-cert_chain").arg(file);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("ACCEPT")));
        let Some(Ok(line)) = line else {
            let output = child.wait_with_output().unwrap();
            panic!("{scene}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let port = line.rsplit(':').next().unwrap().parse().unwrap();
        // It prints a line for each client.
        std::thread::spawn(move || lines.for_each(drop));
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(errors).lines().for_each(drop));
        Server { child, port }
    }
}

impl Server {
    /// `HOST:PORT`
    fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All scenes, with their servers.
struct Stage {
    _directory: tempfile::TempDir,
    scenes: Vec<Scene>,
    servers: BTreeMap<&'static str, Server>,
    /// The PEM of what is installed for each scene.
    anchors: Vec<(String, Vec<u8>)>,
}

impl Stage {
    fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let maker = Maker::new(directory.path());
        let (mut servers, mut anchors) = (BTreeMap::new(), Vec::new());
        let scenes = scenes();
        for scene in &scenes {
            let make = |role: &str, draft: &Draft, issuer: Option<&Made>| {
                maker.make(scene.name, role, draft, issuer)
            };
            let root = scene.root.as_ref().map(|root| make("root", root, None));
            let between = scene.intermediate.as_ref().map(|one| make("intermediate", one, root.as_ref()));
            let leaf = make("leaf", &scene.leaf, between.as_ref().or(root.as_ref()));
            let old = scene.anchors.contains(&"old").then(|| {
                let subject: &'static str = Box::leak(format!("/CN={} root", scene.name).into_boxed_str());
                make("old", &scene.root.clone().unwrap().subject(subject), None)
            });
            let named = |name: &str| match name {
                "root" => root.as_ref().unwrap(),
                "intermediate" => between.as_ref().unwrap(),
                "old" => old.as_ref().unwrap(),
                _ => &leaf,
            };
            for anchor in scene.anchors {
                let pem = std::fs::read(&named(anchor).certificate).unwrap();
                anchors.push((format!("{}-{anchor}", scene.name), pem));
            }
            let chain: Vec<&Made> = scene.sends.iter().map(|name| named(name)).collect();
            servers.insert(scene.name, Server::start(directory.path(), scene.name, &leaf, &chain));
        }
        Stage { _directory: directory, scenes, servers, anchors }
    }

    /// A copy of `base` whose own tool installed the anchors.
    fn root(&self, base: Base) -> RootFs {
        let root = base.copy();
        root.write("etc/hosts", HOSTS);
        for (name, pem) in &self.anchors {
            root.write(&format!("usr/local/share/ca-certificates/{name}.crt"), pem);
        }
        root.run(&["update-ca-certificates"]);
        let lines: String = self
            .scenes
            .iter()
            .map(|scene| format!("{} {} {}\n", scene.name, scene.host, self.servers[scene.name].port))
            .collect();
        std::fs::write(root.exchange().join("scenes"), lines).unwrap();
        std::fs::create_dir(root.exchange().join("out")).unwrap();
        root
    }
}

/// A client: its row in doctor's table, a part of where doctor finds it, and a shell script that prints a line for each
/// scene of `/mnt/scenes`: its name, 0 if the client accepts the server, and what the client prints.
struct Client {
    id: &'static str,
    found: &'static str,
    script: String,
}

/// A client whose command runs once for each scene, with `$host`, `$port` and `$name`; it accepts if it succeeds.
fn each(id: &'static str, found: &'static str, command: &str) -> Client {
    let script = format!(
        "while read name host port; do said=$( ( {command} ) < /dev/null 2>&1 ); \
         echo $name $? \"$(echo \"$said\" | tr '\\n' ' ')\"; done < /mnt/scenes"
    );
    Client { id, found, script }
}

/// A client that asks all servers in one process.
fn all(id: &'static str, found: &'static str, script: &str) -> Client {
    Client { id, found, script: script.to_owned() }
}

const PYTHON: &str = "python3 - <<'END'
import urllib.request
for line in open('/mnt/scenes'):
    name, host, port = line.split()
    try:
        urllib.request.urlopen(f'https://{host}:{port}/', timeout=20)
        print(name, 0)
    except Exception as error:
        print(name, 1, str(error).replace('\\n', ' '))
END";

const REQUESTS: &str = "python3 - <<'END'
import requests
for line in open('/mnt/scenes'):
    name, host, port = line.split()
    try:
        requests.get(f'https://{host}:{port}/', timeout=20)
        print(name, 0)
    except Exception as error:
        print(name, 1, str(error).replace('\\n', ' '))
END";

const NODE: &str = "node - <<'END'
const https = require('https');
const lines = require('fs').readFileSync('/mnt/scenes', 'utf8').trim().split('\\n');
(async () => {
  for (const line of lines) {
    const [name, host, port] = line.split(' ');
    await new Promise(done => {
      https.get(`https://${host}:${port}/`, { agent: false }, answer => { answer.resume(); console.log(name, 0); done(); })
        .on('error', error => { console.log(name, 1, error.message); done(); });
    });
  }
})();
END";

const RUBY: &str = "ruby - <<'END'
require 'net/http'
File.foreach('/mnt/scenes') do |line|
  name, host, port = line.split
  begin
    Net::HTTP.get(URI(\"https://#{host}:#{port}/\"))
    puts \"#{name} 0\"
  rescue => error
    puts \"#{name} 1 #{error.message}\"
  end
end
END";

const PHP: &str = "php <<'END'
<?php foreach (file('/mnt/scenes') as $line) {
    [$name, $host, $port] = explode(' ', trim($line));
    $answer = @file_get_contents(\"https://$host:$port/\");
    echo $name, $answer === false ? ' 1 ' . str_replace(\"\\n\", ' ', error_get_last()['message']) : ' 0', \"\\n\";
}
END";

const JAVA: &str = "cd /mnt; java -cp . Client $(awk '{ print \"https://\" $2 \":\" $3 \"/\" }' scenes) > said
paste -d ' ' scenes said | awk '{ printf \"%s %d \", $1, $4 != \"answer\"; for (i = 5; i <= NF; i++) printf \"%s \", $i; print \"\" }'";

fn debian_clients() -> Vec<Client> {
    vec![
        each(
            "openssl",
            "/usr/bin/openssl",
            "case $host in *[a-z]*) v=-verify_hostname;; *) v=-verify_ip;; esac; echo Q | openssl s_client -verify_return_error $v $host -connect $host:$port",
        ),
        each("curl", "/usr/bin/curl", "curl -fsS --max-time 20 https://$host:$port/"),
        each("wget", "/usr/bin/wget", "wget --tries=1 --timeout=20 -nv -O- https://$host:$port/"),
        each(
            "git",
            "git-remote-https",
            "said=$(git ls-remote https://$host:$port/ 2>&1); echo \"$said\"; case $said in *'not valid: is this a git'*) ;; *) exit 1;; esac",
        ),
        all("python", "/usr/bin/python3", PYTHON),
        all("requests", "/usr/lib/python3/dist-packages/requests", REQUESTS),
        all(
            "requests",
            "/opt/pypi/requests",
            &format!("export PYTHONPATH=/opt/pypi REQUESTS_CA_BUNDLE={BUNDLE}; {REQUESTS}"),
        ),
        all("node", "/usr/bin/node", NODE),
        each("go", "", "/mnt/go-client https://$host:$port/"),
        each(
            "cargo",
            "/mnt/cargo",
            "said=$(CARGO_REGISTRIES_TEST_INDEX=sparse+https://$host:$port/ CARGO_NET_RETRY=0 /mnt/cargo search --registry test anything 2>&1); echo \"$said\"; case $said in *SSL*|*certificate*) exit 1;; esac",
        ),
    ]
}

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What doctor may leave open: a client, and the beginning of the name of a scene.
const LEFT_OPEN: &[(&str, &str)] = &[
    // trustup has no verifier for these curves.
    ("", "secp256k1-root"),
    ("", "brainpool-root"),
    // Which OpenSSL's level a Node has, depends on who built it.
    ("node", "rsa1024-"),
    // OpenSSL and GnuTLS take either of two roots of one name, if no identifier tells them apart.
    ("", "same-name-both-no-key-ids"),
];

impl Stage {
    /// Every client of a copy of `base` does what doctor says.
    fn agree(&self, base: Base, clients: &[Client]) {
        let root = self.root(base);
        copy_program(go_client(), &root.exchange().join("go-client"));
        let cargo = roots::run(Command::new("rustup").args(["which", "cargo"])).stdout;
        copy_program(Path::new(String::from_utf8(cargo).unwrap().trim()), &root.exchange().join("cargo"));
        if base == Base::Java {
            compile_client(root.exchange());
        }
        let said: BTreeMap<&str, Value> =
            self.scenes.iter().map(|scene| (scene.name, self.doctor(&root, scene))).collect();
        let mut wrong = Vec::new();
        for client in clients {
            let output = root.run(&["sh", "-c", &client.script]);
            let text = String::from_utf8_lossy(&output.stdout);
            let did: BTreeMap<&str, (bool, &str)> = text
                .lines()
                .filter_map(|line| {
                    let (name, rest) = line.split_once(' ')?;
                    let (code, said) = rest.split_once(' ').unwrap_or((rest, ""));
                    Some((name, (code == "0", said)))
                })
                .collect();
            assert_eq!(did.len(), self.scenes.len(), "{}: {}", client.id, roots::Said(&output));
            for scene in &self.scenes {
                let Some(of_all) = said[scene.name]["clients"].as_array() else {
                    wrong.push(format!(
                        "{base:?} {}: doctor fails: {}",
                        scene.name, said[scene.name]["error"]
                    ));
                    continue;
                };
                let of_client = of_all.iter().find(|one| {
                    one["client"] == client.id
                        && one["found"].as_str().unwrap_or_default().contains(client.found)
                });
                let of_client = of_client.unwrap_or_else(|| panic!("doctor does not know {}", client.found));
                let (accepts, words) = did[scene.name];
                let verdict = of_client["verdict"].as_str().unwrap();
                let may_be_open = LEFT_OPEN
                    .iter()
                    .any(|(id, name)| (id.is_empty() || *id == client.id) && scene.name.starts_with(name));
                let is_right = match verdict {
                    "cannot-judge" => may_be_open,
                    verdict => verdict == if accepts { "accepts" } else { "refuses" },
                };
                let why = of_client["why"].as_str().unwrap();
                let is_advised = (verdict == "refuses") == of_client["first_to_change"].is_string();
                if !is_right || !is_advised {
                    let words: String =
                        words.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                    wrong.push(format!(
                        "{base:?} {} {} {}: {verdict} ({why}); does {accepts}: {words}",
                        client.id, client.found, scene.name
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    fn doctor(&self, root: &RootFs, scene: &Scene) -> Value {
        let bundle = format!("REQUESTS_CA_BUNDLE={BUNDLE}");
        let variables = [PATH, "PYTHONPATH=/opt/pypi", "HOME=/root", &bundle];
        let authority = format!("{}:{}", scene.host, self.servers[scene.name].port);
        root.trustup_inside_after("", &variables, ["doctor", "--json", "--connect", &authority]).run().json()
    }
}

/// What every command sees first.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/mnt";

#[test]
#[ignore = "needs root and real root file systems"]
fn verdicts_are_those_of_the_clients_of_debian_12() {
    Stage::new().agree(Base::Runtimes, &debian_clients());
}

#[test]
#[ignore = "needs root and real root file systems"]
fn verdicts_are_those_of_the_clients_of_debian_13() {
    let mut clients = debian_clients();
    clients.push(all("ruby", "/usr/bin/ruby", RUBY));
    clients.push(all("php", "/usr/bin/php", PHP));
    clients.push(each("gnutls", "/usr/bin/gnutls-cli", "gnutls-cli --port $port $host"));
    Stage::new().agree(Base::Runtimes13, &clients);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn verdicts_are_those_of_the_clients_of_alpine() {
    let clients = [
        each("curl", "/usr/bin/curl", "curl -fsS --max-time 20 https://$host:$port/"),
        each("wget", "/usr/bin/wget", "wget -T 20 -q -O - https://$host:$port/"),
    ];
    Stage::new().agree(Base::Alpine, &clients);
}

#[test]
#[ignore = "needs root, debootstrap and openjdk-17-jdk-headless"]
fn verdicts_are_those_of_java() {
    Stage::new().agree(Base::Java, &[all("java", "", JAVA)]);
}
