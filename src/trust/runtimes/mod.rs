//! The variables that tell programs where the roots are, for programs that do not read the system store: the one table
//! of them, and the value of each. Pure: it reads neither variables nor files.
//!
//! Variables that are omitted on purpose:
//! - `NPM_CONFIG_CAFILE`: npm uses Node's extra roots, and the variable would override the `cafile` of the user's own
//!   `.npmrc` (seen with npm 11).
//! - `YARN_HTTPS_CA_FILE_PATH`: Yarn uses Node's extra roots, and Yarn 3 refuses to run at all if it finds this
//!   variable, a setting of Yarn 4 (seen with 3.8.7 and 4.9.1).
//! - `GIT_SSL_CAPATH`, `HTTPS_CA_FILE`, `CONDA_SSL_VERIFY`: their programs also read a variable of this table.
//! - `DENO_TLS_CA_STORE`, `NODE_OPTIONS=--use-openssl-ca`: they replace the whole store where roots can be added.
//! - `PGSSLROOTCERT` and similar ones: they change what is verified, not only against which roots.
//! - `VAULT_CACERT` and others of one service: its Go programs read `SSL_CERT_FILE`.

pub mod profile;
pub mod render;

/// Where the roots are: absolute paths, as the programs see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootLocations {
    /// A PEM file of all roots, the distribution's and ours.
    pub bundle: String,
    /// A directory of all roots that OpenSSL searches by hash, if there is one.
    pub directory: Option<String>,
    /// The PEM file of our only anchor; `None` if there are several, or if it has none.
    pub anchor: Option<String>,
    /// A keystore of all roots with the password `changeit`, where Java does not read one by default.
    pub keystore: Option<String>,
}

/// What a program does with the roots that a variable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It trusts these and no others, so the file must hold all roots.
    Replaces,
    /// The same, and it names a hashed directory.
    ReplacesDirectory,
    /// It trusts them as well as its own: a file.
    Adds,
    /// Options of the Java virtual machine, appended to those that are set; they name the keystore.
    JavaOptions,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuntimeVariable {
    /// The variable.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) effect: Effect,
    /// The programs that read it.
    pub(crate) readers: &'static str,
    /// Variables that its readers fall back on. If the user set one of them, this variable would override it, and is
    /// left unset.
    pub(crate) falls_back_on: &'static [&'static str],
}

const OPENSSL: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR"];

const fn row(name: &'static str, effect: Effect, readers: &'static str) -> RuntimeVariable {
    RuntimeVariable { name, effect, readers, falls_back_on: &[] }
}

impl RuntimeVariable {
    const fn before(self, falls_back_on: &'static [&'static str]) -> RuntimeVariable {
        RuntimeVariable { falls_back_on, ..self }
    }
}

/// Every variable that we set; one that overrides another comes before it.
pub(crate) const TABLE: &[RuntimeVariable] = &[
    row("PIP_CERT", Effect::Replaces, "pip").before(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]),
    row("AWS_CA_BUNDLE", Effect::Replaces, "AWS CLI and SDKs").before(&["REQUESTS_CA_BUNDLE"]),
    row("REQUESTS_CA_BUNDLE", Effect::Replaces, "Python requests, Azure CLI, conda")
        .before(&["CURL_CA_BUNDLE"]),
    row("CURL_CA_BUNDLE", Effect::Replaces, "curl, Python requests").before(OPENSSL),
    row("GIT_SSL_CAINFO", Effect::Replaces, "git"),
    row("CARGO_HTTP_CAINFO", Effect::Replaces, "Cargo").before(OPENSSL),
    row("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Effect::Replaces, "gcloud"),
    row("HTTPLIB2_CA_CERTS", Effect::Replaces, "Python's httplib2"),
    row("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Effect::Replaces, "gRPC's C core: Python, Ruby, PHP, C++"),
    row("BUNDLE_SSL_CA_CERT", Effect::Replaces, "Bundler").before(OPENSSL),
    row("HEX_CACERTS_PATH", Effect::Replaces, "Elixir's hex"),
    row("PERL_LWP_SSL_CA_FILE", Effect::Replaces, "Perl's LWP").before(&["HTTPS_CA_FILE"]),
    row("NIX_SSL_CERT_FILE", Effect::Replaces, "Nix").before(&["SSL_CERT_FILE"]),
    row("NODE_EXTRA_CA_CERTS", Effect::Adds, "Node, npm, pnpm, yarn, Bun"),
    row("DENO_CERT", Effect::Adds, "Deno"),
    row("SSL_CERT_FILE", Effect::Replaces, "OpenSSL, Python, Ruby, PHP, Go, uv, .NET, rustls"),
    row("SSL_CERT_DIR", Effect::ReplacesDirectory, "OpenSSL, Python, Ruby, PHP, Go, .NET, rustls"),
    row(JAVA_OPTIONS, Effect::JavaOptions, "Java"),
];

/// What every Java virtual machine reads before its command line.
pub(crate) const JAVA_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// What names Java's trust store among options; the password alone does not.
const TRUST_STORE: [&str; 3] =
    ["-Djavax.net.ssl.trustStore=", "-Djavax.net.ssl.trustStoreType=", "-Djavax.net.ssl.trustStoreProvider="];

/// A variable with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramVariable {
    /// Its name.
    pub name: &'static str,
    /// Its current or intended value. If it is kept because of another variable: that variable's value.
    pub value: String,
    /// The programs that read it.
    pub(crate) readers: &'static str,
    /// What the user set before: this variable, or one that its readers fall back on. Then it is left unchanged.
    pub kept: Option<&'static str>,
}

/// The variables for `roots`, in the order of the table. `current` gives a variable's current value; a different value
/// is kept.
pub fn variables(roots: &RootLocations, current: impl Fn(&str) -> Option<String>) -> Vec<ProgramVariable> {
    let mut variables = Vec::new();
    for row in TABLE {
        if row.effect == Effect::JavaOptions {
            variables.extend(java_options(roots, row, current(row.name)));
            continue;
        }
        let Some(value) = value(roots, row) else { continue };
        let set_by_user = |name: &&'static str| {
            let ours = TABLE.iter().find(|row| row.name == *name).and_then(|row| self::value(roots, row));
            current(name).filter(|set| ours != Some(set.as_str())).map(|set| (*name, set))
        };
        let kept = match current(row.name) {
            Some(_) => set_by_user(&row.name),
            None => row.falls_back_on.iter().find_map(set_by_user),
        };
        let (kept, value) = match kept {
            Some((name, set)) => (Some(name), set),
            None => (None, value.to_owned()),
        };
        variables.push(ProgramVariable { name: row.name, value, readers: row.readers, kept });
    }
    variables
}

/// What a program that we start gets in addition to its environment: names and values.
pub(crate) fn for_command(
    roots: &RootLocations,
    current: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    variables(roots, current)
        .into_iter()
        .filter(|variable| variable.kept.is_none())
        .map(|variable| (variable.name.to_owned(), variable.value))
        .collect()
}

/// The value of a variable; `None` if there is nothing that it could name.
fn value<'a>(roots: &'a RootLocations, row: &RuntimeVariable) -> Option<&'a str> {
    match row.effect {
        Effect::Replaces => Some(&roots.bundle),
        Effect::ReplacesDirectory => roots.directory.as_deref(),
        Effect::Adds => Some(roots.anchor.as_deref().unwrap_or(&roots.bundle)),
        Effect::JavaOptions => None,
    }
}

/// The options of the Java virtual machine: what is set, then the keystore. A trust store already named is kept.
fn java_options(
    roots: &RootLocations,
    row: &RuntimeVariable,
    current: Option<String>,
) -> Option<ProgramVariable> {
    let keystore = roots.keystore.as_deref().filter(|_| left_out(roots, current.as_deref()).is_none())?;
    let ours = format!("{}{keystore} -Djavax.net.ssl.trustStorePassword=changeit", TRUST_STORE[0]);
    let variable = |value, kept| Some(ProgramVariable { name: row.name, value, readers: row.readers, kept });
    match current {
        None => variable(ours, None),
        Some(set) if set.contains(&ours) => variable(set, None),
        Some(set) if TRUST_STORE.iter().any(|option| set.contains(option)) => variable(set, Some(row.name)),
        Some(set) => variable(format!("{set} {ours}"), None),
    }
}

/// Why JAVA_TOOL_OPTIONS is not among the variables though there is a keystore: Java interprets quotes itself, while
/// scripts that pass the value on split it at white space (threat T15); and what the user set must stay as it is.
pub(crate) fn left_out(roots: &RootLocations, java_options: Option<&str>) -> Option<String> {
    let keystore = roots.keystore.as_deref()?;
    if keystore.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')) {
        let keystore = crate::text::escape(keystore);
        return Some(format!(
            "JAVA_TOOL_OPTIONS is left out: it cannot name a path with white space or quotes: {keystore}"
        ));
    }
    let set = java_options?;
    set.contains(['\n', '\r', '\0', char::REPLACEMENT_CHARACTER]).then(|| {
        "JAVA_TOOL_OPTIONS is left out: its value has line ends, or is not text, and cannot be repeated"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "-Djavax.net.ssl.trustStore=/k -Djavax.net.ssl.trustStorePassword=changeit";

    fn roots() -> RootLocations {
        RootLocations {
            bundle: "/b.pem".to_owned(),
            directory: Some("/d".to_owned()),
            anchor: Some("/a.crt".to_owned()),
            keystore: Some("/k".to_owned()),
        }
    }

    fn set(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn find(variables: &[ProgramVariable], name: &str) -> ProgramVariable {
        variables.iter().find(|variable| variable.name == name).cloned().unwrap()
    }

    #[test]
    fn what_replaces_gets_all_roots_and_what_adds_the_only_anchor() {
        let all = variables(&roots(), set(&[]));
        assert_eq!(all.len(), TABLE.len());
        for (row, variable) in TABLE.iter().zip(&all) {
            let wanted = match row.effect {
                Effect::Replaces => "/b.pem",
                Effect::ReplacesDirectory => "/d",
                Effect::Adds => "/a.crt",
                Effect::JavaOptions => OURS,
            };
            assert_eq!((variable.value.as_str(), variable.kept), (wanted, None), "{}", row.name);
        }
        let bare = RootLocations { directory: None, anchor: None, keystore: None, ..roots() };
        let all = variables(&bare, set(&[]));
        assert!(all.iter().all(|variable| variable.value == "/b.pem" && variable.name != "SSL_CERT_DIR"));
    }

    #[test]
    fn names_are_unique_and_what_goes_before_stands_above() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|above| above.name != row.name), "{}", row.name);
            for name in row.falls_back_on {
                assert!(TABLE[..index].iter().all(|above| above.name != *name), "{} {name}", row.name);
            }
        }
    }

    #[test]
    fn options_of_java_are_added_to_and_never_replaced() {
        let java = |keystore: &str, set: Option<&'static str>| {
            let roots = RootLocations { keystore: Some(keystore.to_owned()), ..roots() };
            let all =
                variables(&roots, |name| set.filter(|_| name == "JAVA_TOOL_OPTIONS").map(str::to_owned));
            assert!(all.len() >= TABLE.len() - 1, "the others are there");
            let found = all.into_iter().find(|variable| variable.name == "JAVA_TOOL_OPTIONS");
            assert_eq!(found.is_none(), left_out(&roots, set).is_some());
            found.map(|variable| (variable.value, variable.kept))
        };
        let ours = |before: &str| Some((format!("{before}{OURS}"), None));
        assert_eq!(java("/k", None), ours(""));
        assert_eq!(java("/k", Some("-Xmx1g -Da='b c'")), ours("-Xmx1g -Da='b c' "));
        // A second run adds nothing.
        assert_eq!(java("/k", Some(OURS)), ours(""));
        let password = "-Djavax.net.ssl.trustStorePassword=x";
        assert_eq!(java("/k", Some(password)), ours(&format!("{password} ")), "the last one counts");
        for theirs in [
            "-Djavax.net.ssl.trustStore=/theirs",
            "-Xmx1g -Djavax.net.ssl.trustStoreType=pkcs12",
            "-Djavax.net.ssl.trustStore=/k2 -Djavax.net.ssl.trustStorePassword=changeit",
        ] {
            assert_eq!(java("/k", Some(theirs)), Some((theirs.to_owned(), Some("JAVA_TOOL_OPTIONS"))));
        }
    }

    #[test]
    fn t15_what_java_options_cannot_say_is_left_out() {
        for path in ["/a b", "/a\tb", "/a\nb", "/a'b", "/a\"b", "/a\u{a0}b"] {
            let roots = RootLocations { keystore: Some(path.to_owned()), ..roots() };
            assert!(variables(&roots, set(&[])).iter().all(|variable| variable.name != "JAVA_TOOL_OPTIONS"));
            assert!(left_out(&roots, None).unwrap().contains("JAVA_TOOL_OPTIONS"));
        }
        for theirs in ["-Da\n-Db", "-D\u{fffd}"] {
            assert!(left_out(&roots(), Some(theirs)).is_some(), "{theirs:?}");
        }
        assert_eq!(left_out(&RootLocations { keystore: None, ..roots() }, Some("\n")), None);
    }

    #[test]
    fn what_the_user_set_is_kept_and_not_gone_before() {
        let all =
            variables(&roots(), set(&[("SSL_CERT_FILE", "/user.pem"), ("NODE_EXTRA_CA_CERTS", "/a.crt")]));
        let kept = |name| find(&all, name).kept;
        assert_eq!(find(&all, "SSL_CERT_FILE").value, "/user.pem");
        assert_eq!(kept("SSL_CERT_FILE"), Some("SSL_CERT_FILE"));
        assert_eq!(kept("NODE_EXTRA_CA_CERTS"), None, "it is what we would give");
        assert_eq!(kept("CURL_CA_BUNDLE"), Some("SSL_CERT_FILE"), "curl would no longer read it");
        assert_eq!(kept("REQUESTS_CA_BUNDLE"), None, "requests does not read it");
        assert_eq!(kept("GIT_SSL_CAINFO"), None);
        let given = for_command(&roots(), set(&[("SSL_CERT_FILE", "/user.pem")]));
        assert!(
            given.iter().all(|(name, value)| name != "SSL_CERT_FILE" && value != "/user.pem"),
            "{given:?}"
        );
        assert!(given.contains(&("GIT_SSL_CAINFO".to_owned(), "/b.pem".to_owned())));
        // Set to our own value: nothing is overridden.
        let all = variables(&roots(), set(&[("SSL_CERT_FILE", "/b.pem"), ("CURL_CA_BUNDLE", "/user.pem")]));
        assert_eq!(find(&all, "SSL_CERT_FILE").kept, None);
        assert_eq!(find(&all, "CURL_CA_BUNDLE").kept, Some("CURL_CA_BUNDLE"));
        assert_eq!(find(&all, "PIP_CERT").kept, Some("CURL_CA_BUNDLE"));
    }
}
