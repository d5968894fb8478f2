//! The chains that clients are asked about, one rule of some library each.

use super::certificates::Draft;

/// A chain, a name, and which certificate of it is in the stores.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// The host in the URL.
    pub(super) host: &'static str,
    pub(super) root: Option<Draft>,
    pub(super) intermediate: Option<Draft>,
    pub(super) leaf: Draft,
    /// What is in the stores: "root", "intermediate", "leaf", "old" (a root of the same name with another key).
    pub(super) anchors: &'static [&'static str],
    /// What the server sends after its own.
    pub(super) sends: &'static [&'static str],
}

fn scene(name: &'static str) -> Scene {
    Scene {
        name,
        host: "localhost",
        root: Some(Draft::root()),
        intermediate: None,
        leaf: Draft::leaf(),
        anchors: &["root"],
        sends: &[],
    }
}

impl Scene {
    fn root(self, root: Draft) -> Scene {
        Scene { root: Some(root), ..self }
    }

    fn between(self, intermediate: Draft) -> Scene {
        Scene { intermediate: Some(intermediate), sends: &["intermediate"], ..self }
    }

    fn leaf(self, leaf: Draft) -> Scene {
        Scene { leaf, ..self }
    }

    fn host(self, host: &'static str) -> Scene {
        Scene { host, ..self }
    }

    fn anchors(self, anchors: &'static [&'static str]) -> Scene {
        Scene { anchors, ..self }
    }

    fn sends(self, sends: &'static [&'static str]) -> Scene {
        Scene { sends, ..self }
    }

    /// A server's certificate that signed itself.
    fn alone(self, leaf: Draft) -> Scene {
        Scene { root: None, leaf: leaf.without("authorityKeyIdentifier"), anchors: &["leaf"], ..self }
    }
}

const CRITICAL: &str = "1.3.6.1.4.1.99999.1=critical,ASN1:UTF8String:hello";
const UNCRITICAL: &str = "1.3.6.1.4.1.99999.1=ASN1:UTF8String:hello";

/// The names that resolve in the roots, beside `localhost`.
pub(super) const HOSTS: &str = "127.0.0.1 localhost www.verdict.test a.www.verdict.test www_1.verdict.test\n";

pub(super) fn scenes() -> Vec<Scene> {
    let (root, between, leaf) = (Draft::root, Draft::intermediate, Draft::leaf);
    let names = |scene_name, host, san: &str| {
        scene(scene_name).host(host).leaf(leaf().with(&format!("subjectAltName={san}")))
    };
    let constraints =
        |scene_name, value: &str| scene(scene_name).root(root().with(&format!("nameConstraints={value}")));
    const PSS: &[&str] = &["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let mut all = vec![
        scene("good"),
        scene("good-between").between(between()),
        scene("not-installed").anchors(&[]),
        // --- the form of roots and intermediates
        scene("lax-root").root(root().with("basicConstraints=CA:TRUE")),
        scene("lax-between").between(between().with("basicConstraints=CA:TRUE")),
        scene("no-ski-root")
            .root(root().without("subjectKeyIdentifier"))
            .leaf(leaf().without("authorityKeyIdentifier")),
        scene("no-ski-between")
            .between(between().without("subjectKeyIdentifier"))
            .leaf(leaf().without("authorityKeyIdentifier")),
        scene("no-ski-leaf").leaf(leaf().without("subjectKeyIdentifier")),
        scene("no-aki-leaf").leaf(leaf().without("authorityKeyIdentifier")),
        scene("no-aki-between").between(between().without("authorityKeyIdentifier")),
        scene("critical-ski-root").root(root().with("subjectKeyIdentifier=critical,hash")),
        scene("wrong-aki-leaf").leaf(leaf().with("2.5.29.35=DER:30:06:80:04:01:02:03:04")),
        scene("no-constraints-no-usage-root").root(root().without("basicConstraints").without("keyUsage")),
        scene("lax-root-alone").root(root().with("basicConstraints=CA:TRUE")).leaf(leaf()),
        scene("no-usage-root").root(root().without("keyUsage")),
        scene("no-usage-between").between(between().without("keyUsage")),
        scene("no-usage-leaf").leaf(leaf().without("keyUsage")),
        scene("no-certsign-root").root(root().with("keyUsage=critical,digitalSignature,cRLSign")),
        scene("no-certsign-between").between(between().with("keyUsage=critical,digitalSignature,cRLSign")),
        scene("certsign-leaf").leaf(leaf().with("keyUsage=critical,digitalSignature,keyCertSign")),
        scene("encipherment-leaf").leaf(leaf().with("keyUsage=critical,keyEncipherment")),
        scene("agreement-leaf").leaf(leaf().with("keyUsage=critical,keyAgreement")),
        scene("crlsign-leaf").leaf(leaf().with("keyUsage=critical,cRLSign")),
        scene("no-constraints-root").root(root().without("basicConstraints")),
        scene("no-constraints-between").between(between().without("basicConstraints")),
        scene("no-constraints-leaf").leaf(leaf().without("basicConstraints")),
        scene("not-ca-root").root(root().with("basicConstraints=critical,CA:FALSE")),
        scene("not-ca-between").between(between().with("basicConstraints=critical,CA:FALSE")),
        scene("v1-root").root(root().bare()).leaf(leaf().without("authorityKeyIdentifier")),
        scene("v1-between").between(between().bare()).leaf(leaf().without("authorityKeyIdentifier")),
        scene("v1-leaf").leaf(leaf().bare().subject("/CN=localhost/O=v1-leaf")),
        scene("pathlen-root-exceeded")
            .root(root().with("basicConstraints=critical,CA:TRUE,pathlen:0"))
            .between(between()),
        scene("pathlen-root-met")
            .root(root().with("basicConstraints=critical,CA:TRUE,pathlen:1"))
            .between(between()),
        scene("pathlen-between-met").between(between().with("basicConstraints=critical,CA:TRUE,pathlen:0")),
        scene("explicit-curve-root").root(root().key("explicit")),
        // --- serial numbers
        scene("negative-root").root(root().serial("-5")),
        scene("negative-between").between(between().serial("-5")),
        scene("negative-leaf").leaf(leaf().serial("-5")),
        scene("zero-root").root(root().serial("0")),
        scene("zero-leaf").leaf(leaf().serial("0")),
        scene("long-serial-leaf")
            .leaf(leaf().serial("0x1122334455667788990011223344556677889900112233445566")),
        // --- keys and signatures
        scene("p384-root").root(root().key("p384")),
        scene("p521-root").root(root().key("p521")),
        scene("p521-sha512-root")
            .root(root().key("p521").signed(&["-sha512"]))
            .leaf(leaf().signed(&["-sha512"])),
        scene("p521-between").between(between().key("p521")),
        scene("p521-leaf").leaf(leaf().key("p521")),
        scene("p256-sha512").leaf(leaf().signed(&["-sha512"])),
        scene("p384-leaf").leaf(leaf().key("p384")),
        scene("secp256k1-root").root(root().key("secp256k1")),
        scene("brainpool-root").root(root().key("brainpoolP256r1")),
        scene("ed25519-root").root(root().key("ed25519").signed(&[])).leaf(leaf().signed(&[])),
        scene("ed25519-leaf").leaf(leaf().key("ed25519")),
        scene("rsa2048").root(root().key("rsa2048")).leaf(leaf().key("rsa2048")),
        scene("rsa1024-root").root(root().key("rsa1024")),
        scene("rsa1024-between").between(between().key("rsa1024")),
        scene("rsa1024-leaf").leaf(leaf().key("rsa1024")),
        scene("pss-signature").root(root().key("rsa2048")).leaf(leaf().signed(PSS)),
        scene("pss-signature-root").root(root().key("rsa2048").signed(PSS)),
        scene("pss-key-root").root(root().key("pss2048")),
        scene("pss-key-leaf").leaf(leaf().key("pss2048")),
        scene("sha1-root").root(root().signed(&["-sha1"])),
        scene("sha1-rsa-root").root(root().key("rsa2048").signed(&["-sha1"])),
        scene("sha1-between").between(between().signed(&["-sha1"])),
        scene("sha1-leaf").leaf(leaf().signed(&["-sha1"])),
        scene("sha1-rsa-leaf").root(root().key("rsa2048")).leaf(leaf().signed(&["-sha1"])),
        scene("md5-rsa-root").root(root().key("rsa2048").signed(&["-md5"])),
        scene("md5-rsa-leaf").root(root().key("rsa2048")).leaf(leaf().signed(&["-md5"])),
        // --- name constraints
        constraints("nc-dns-met", "critical,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0"),
        constraints("nc-dns-alone", "critical,permitted;DNS:localhost"),
        constraints("nc-dns-violated", "critical,permitted;DNS:other.test,permitted;IP:127.0.0.0/255.0.0.0"),
        constraints("nc-dns-violated-uncritical", "permitted;DNS:other.test"),
        constraints("nc-dns-excluded", "critical,excluded;DNS:localhost"),
        constraints("nc-dns-excluded-other", "critical,excluded;DNS:other.test"),
        constraints("nc-ip-violated", "critical,permitted;IP:10.0.0.0/255.0.0.0"),
        constraints("nc-ip-excluded", "critical,excluded;IP:127.0.0.0/255.0.0.0"),
        constraints("nc-dir-other", "critical,permitted;dirName:section@@C=DE|O=Example"),
        constraints(
            "nc-dir-other-and-dns",
            "critical,permitted;DNS:localhost,permitted;dirName:section@@C=DE|O=Example",
        ),
        constraints("nc-dir-other-uncritical", "permitted;dirName:section@@C=DE|O=Example"),
        constraints("nc-dir-met", "critical,permitted;dirName:section@@C=DE|O=Example")
            .leaf(leaf().subject("/C=DE/O=Example/CN=nc-dir-met")),
        constraints("nc-dir-excluded", "critical,excluded;dirName:section@@C=DE|O=Example")
            .leaf(leaf().subject("/C=DE/O=Example/CN=nc-dir-excluded")),
        constraints("nc-dir-excluded-other", "critical,excluded;dirName:section@@C=DE|O=Example"),
        constraints("nc-email", "critical,permitted;email:example.com"),
        constraints("nc-uri", "critical,permitted;URI:example.com"),
        constraints("nc-rid", "critical,permitted;RID:1.2.3.4"),
        constraints("nc-other-name", "critical,permitted;otherName:1.2.3.4;UTF8:x"),
        scene("nc-between-violated")
            .between(between().with("nameConstraints=critical,permitted;DNS:other.test")),
        scene("nc-between-met").between(
            between()
                .with("nameConstraints=critical,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0"),
        ),
        scene("nc-between-dir")
            .between(between().with("nameConstraints=critical,permitted;dirName:section@@C=DE|O=Example")),
        constraints("nc-cn-only", "critical,permitted;DNS:other.test")
            .leaf(leaf().subject("/CN=localhost/O=nc-cn-only").without("subjectAltName")),
        // --- critical extensions and policies
        scene("critext-root").root(root().with(CRITICAL)),
        scene("critext-between").between(between().with(CRITICAL)),
        scene("critext-leaf").leaf(leaf().with(CRITICAL)),
        scene("unknown-uncritical")
            .root(root().with(UNCRITICAL))
            .between(between().with(UNCRITICAL))
            .leaf(leaf().with(UNCRITICAL)),
        scene("policy-required-between")
            .between(between().with("policyConstraints=critical,requireExplicitPolicy:0")),
        scene("policy-required-root").root(root().with("policyConstraints=critical,requireExplicitPolicy:0")),
        scene("policies-critical-root").root(root().with("certificatePolicies=critical,1.2.3.4")),
        scene("inhibit-any-root").root(root().with("inhibitAnyPolicy=critical,0")),
        scene("must-staple-leaf").leaf(leaf().with("tlsfeature=status_request")),
        // --- times
        scene("expired-root").root(root().expired()),
        scene("expired-between").between(between().expired()),
        scene("expired-leaf").leaf(leaf().expired()),
        scene("future-root").root(root().future()),
        scene("future-between").between(between().future()),
        scene("future-leaf").leaf(leaf().future()),
        Scene {
            leaf: Draft { dates: Some(("20250101000000Z", "20481231235959Z")), ..leaf() },
            ..scene("long-leaf")
        },
        // --- certificates of servers
        scene("self-leaf").alone(leaf()),
        scene("self-ca").alone(leaf().with("basicConstraints=critical,CA:TRUE")),
        scene("self-ca-certsign").alone(
            leaf()
                .with("basicConstraints=critical,CA:TRUE")
                .with("keyUsage=critical,digitalSignature,keyCertSign"),
        ),
        scene("self-plain")
            .alone(leaf().without("basicConstraints").without("keyUsage").without("extendedKeyUsage")),
        scene("self-plain-ca").alone(
            leaf().with("basicConstraints=critical,CA:TRUE").without("keyUsage").without("extendedKeyUsage"),
        ),
        scene("self-v1").alone(leaf().bare().subject("/CN=localhost/O=self-v1")),
        scene("self-cn-only").alone(leaf().without("subjectAltName").subject("/CN=localhost/O=self-cn-only")),
        scene("self-expired").alone(leaf().with("basicConstraints=critical,CA:TRUE").expired()),
        scene("self-not-installed").alone(leaf()).anchors(&[]),
        scene("self-critext").alone(leaf().with("basicConstraints=critical,CA:TRUE").with(CRITICAL)),
        scene("self-client-auth").alone(leaf().with("extendedKeyUsage=clientAuth")),
        scene("leaf-installed").anchors(&["leaf"]),
        scene("leaf-and-root-installed").anchors(&["root", "leaf"]),
        scene("ca-leaf").leaf(leaf().with("basicConstraints=critical,CA:TRUE")),
        scene("ca-leaf-certsign").leaf(
            leaf()
                .with("basicConstraints=critical,CA:TRUE")
                .with("keyUsage=critical,digitalSignature,keyCertSign"),
        ),
        scene("no-purpose-leaf").leaf(leaf().without("extendedKeyUsage")),
        scene("client-auth-leaf").leaf(leaf().with("extendedKeyUsage=clientAuth")),
        scene("any-purpose-leaf").leaf(leaf().with("extendedKeyUsage=anyExtendedKeyUsage")),
        scene("client-auth-root").root(root().with("extendedKeyUsage=clientAuth")),
        scene("server-auth-root").root(root().with("extendedKeyUsage=serverAuth")),
        scene("any-purpose-root").root(root().with("extendedKeyUsage=anyExtendedKeyUsage")),
        scene("client-auth-between").between(between().with("extendedKeyUsage=clientAuth")),
        scene("server-auth-between").between(between().with("extendedKeyUsage=serverAuth,clientAuth")),
        scene("any-purpose-between").between(between().with("extendedKeyUsage=anyExtendedKeyUsage")),
        scene("critical-purpose-leaf").leaf(leaf().with("extendedKeyUsage=critical,serverAuth")),
        scene("empty-subject")
            .leaf(leaf().subject("/").with("subjectAltName=critical,DNS:localhost,IP:127.0.0.1")),
        scene("empty-subject-uncritical").leaf(leaf().subject("/")),
        // --- names
        scene("cn-only").leaf(leaf().without("subjectAltName").subject("/CN=localhost/O=cn-only")),
        names("cn-right-san-wrong", "localhost", "DNS:other.test")
            .leaf(leaf().with("subjectAltName=DNS:other.test").subject("/CN=localhost/O=cn-right-san-wrong")),
        scene("cn-right-san-ip")
            .leaf(leaf().with("subjectAltName=IP:127.0.0.1").subject("/CN=localhost/O=cn-right-san-ip")),
        scene("cn-right-san-email")
            .leaf(leaf().with("subjectAltName=email:a@b.test").subject("/CN=localhost/O=cn-right-san-email")),
        names("wrong-name", "localhost", "DNS:other.test"),
        names("upper-case-name", "localhost", "DNS:LOCALHOST"),
        names("final-dot-name", "localhost", "DNS:localhost."),
        names("wildcard", "www.verdict.test", "DNS:*.verdict.test"),
        names("wildcard-two-levels", "a.www.verdict.test", "DNS:*.verdict.test"),
        names("wildcard-short", "www.verdict.test", "DNS:*.test"),
        names("wildcard-part", "www.verdict.test", "DNS:w*.verdict.test"),
        names("wildcard-end", "www.verdict.test", "DNS:*w.verdict.test"),
        names("wildcard-inside", "www.verdict.test", "DNS:www.*.test"),
        names("wildcard-all", "localhost", "DNS:*"),
        names("wildcard-base", "www.verdict.test", "DNS:*.www.verdict.test"),
        names("underscore", "www_1.verdict.test", "DNS:www_1.verdict.test"),
        names("ip-in-san", "127.0.0.1", "IP:127.0.0.1"),
        names("ip-other", "127.0.0.1", "IP:127.0.0.2"),
        names("ip-as-dns", "127.0.0.1", "DNS:127.0.0.1"),
        scene("ip-as-cn").host("127.0.0.1").leaf(leaf().without("subjectAltName").subject("/CN=127.0.0.1")),
        // --- chains
        scene("between-installed").between(between()).anchors(&["intermediate"]),
        scene("between-installed-alone-sent").between(between()).anchors(&["intermediate"]).sends(&[]),
        scene("between-installed-root-sent")
            .between(between())
            .anchors(&["intermediate"])
            .sends(&["intermediate", "root"]),
        scene("between-and-root-installed").between(between()).anchors(&["root", "intermediate"]).sends(&[]),
        scene("between-missing").between(between()).sends(&[]),
        scene("root-sent").between(between()).sends(&["intermediate", "root"]),
        scene("wrong-order").between(between()).sends(&["root", "intermediate"]),
        scene("root-sent-not-installed").sends(&["root"]).anchors(&[]),
        scene("same-name-other-key").anchors(&["old"]),
        scene("same-name-both").anchors(&["old", "root"]),
        scene("same-name-no-key-ids")
            .root(root().without("subjectKeyIdentifier"))
            .leaf(leaf().without("authorityKeyIdentifier"))
            .anchors(&["old"]),
        scene("same-name-both-no-key-ids")
            .root(root().without("subjectKeyIdentifier"))
            .leaf(leaf().without("authorityKeyIdentifier"))
            .anchors(&["old", "root"]),
    ];
    all.extend(more(root, between, leaf));
    all
}

/// Certificates that break several rules, as CAs in the field make them.
fn more(root: fn() -> Draft, between: fn() -> Draft, leaf: fn() -> Draft) -> Vec<Scene> {
    vec![
        scene("lax-and-bare")
            .root(root().with("basicConstraints=CA:TRUE").without("keyUsage").without("subjectKeyIdentifier"))
            .leaf(leaf().without("authorityKeyIdentifier")),
        scene("negative-p521").root(root().key("p521").serial("-5")),
        scene("expired-lax").root(root().with("basicConstraints=CA:TRUE").expired()),
        scene("critext-cn-only")
            .root(root().with(CRITICAL))
            .leaf(leaf().without("subjectAltName").subject("/CN=localhost/O=critext-cn-only")),
        scene("ca-leaf-lax").leaf(leaf().with("basicConstraints=CA:TRUE").without("keyUsage")),
        scene("old-appliance")
            .alone(leaf().bare().subject("/CN=localhost/O=old-appliance").key("rsa2048").signed(&["-sha1"])),
        scene("between-lax-installed")
            .between(between().with("basicConstraints=CA:TRUE"))
            .anchors(&["intermediate"]),
        scene("between-expired-root-valid-installed")
            .between(between().expired())
            .anchors(&["root", "intermediate"]),
        scene("between-of-expired-root-installed")
            .root(root().expired())
            .between(between())
            .anchors(&["root", "intermediate"]),
    ]
}
