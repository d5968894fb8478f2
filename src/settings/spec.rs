//! What an option is, all but its type: how it is written, what may set it, and where it stands in trustup.toml.

use crate::text;

/// How an option is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `--NAME`
    Long,
    /// By its position.
    Positional,
    /// What stands behind `--`.
    Trailing,
    /// Not at all: a variable or the file alone.
    Absent,
}

/// What kind of value an option takes: how it is written in trustup.toml, and how messages show it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OptionKind {
    /// `true` or `false`.
    Switch,
    /// A string.
    Text,
    /// A URL, or what may be one: messages show it without its password.
    Address,
    /// A path: absolute in the file, and without a `KEY_file`.
    Path,
    /// Where a secret is: a file, `-`, or `fd:N`. In the file the key holds the secret, or `KEY_file` names its file.
    Secret,
    /// One of these words.
    Words(fn() -> Vec<String>),
}

/// Which option may be set by a variable, `TRUSTUP_` and the flag in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// It may.
    Allowed,
    /// It may not, for this reason.
    Never(Reason),
}

/// Why an option has no variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It loosens a check, so the command line alone may say it (threat T1).
    LoosensACheck,
    /// It takes trust away (threat T1).
    RemovesTrust,
    /// It names a program that is run (threat T1).
    RunsAProgram,
    /// The method that needs this secret reads TRUSTUP_TOKEN by itself, after the files.
    ReadByItsMethod,
    /// Another command has an option of this name with another meaning, and a variable has one meaning.
    Ambiguous,
    /// It asks for one run of one command.
    OneRun,
    /// It is no option but an argument, or a key of trustup.toml alone, or a published variable by itself.
    NoFlag,
}

/// Options that say where certificates come from (threat T1): they are taken from one layer as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Not one of them.
    None,
    /// Names a source.
    Source,
    /// Pins a source: empty is an error, never "no pin".
    Pin,
    /// Widens what is taken of a source: it names none, and where another layer names the sources, that of the file does not
    /// count.
    Widening,
}

impl Group {
    /// Whether an option of this group makes its layer the one that names sources and pins.
    pub(crate) fn names_sources(self) -> bool {
        matches!(self, Group::Source | Group::Pin)
    }
}

/// All of an option but its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// The flag without dashes; the name of the argument, variable or key of what has no flag. Unique.
    pub(crate) name: &'static str,
    pub(crate) flag: Flag,
    pub(crate) short: Option<char>,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: OptionKind,
    /// Whether the possible values are left out of the help.
    pub(crate) hides_words: bool,
    /// What a value should be, for messages about the file.
    pub(crate) wanted: &'static str,
    /// Values in one argument or variable are separated by commas.
    pub(crate) is_delimited: bool,
    /// Values may begin with `-`.
    pub(crate) takes_hyphens: bool,
    /// In trustup.toml a whole number of this base is a value, too.
    pub(crate) integers: Option<u32>,
    /// In trustup.toml a date and time is a value, too.
    pub(crate) takes_moments: bool,
    /// Flags that exclude this one.
    pub(crate) excludes: &'static [&'static str],
    pub(crate) variable: Variable,
    /// The variable of published images that says the same.
    pub(crate) published: Option<&'static str>,
    /// Its keys in trustup.toml, with their table: `trust.root_url`.
    pub(crate) keys: &'static [&'static str],
    pub(crate) group: Group,
    /// As the help shows it.
    pub(crate) default: Option<&'static str>,
}

impl Spec {
    /// `--NAME` as messages show it.
    pub(crate) fn shown(&self) -> String {
        match self.flag {
            Flag::Long => format!("--{}", self.name),
            _ => self.name.to_owned(),
        }
    }

    /// The variable that sets it, if one may.
    pub(crate) fn variable(&self) -> Option<String> {
        let is_allowed = self.flag == Flag::Long && self.variable == Variable::Allowed;
        is_allowed.then(|| format!("TRUSTUP_{}", self.name.to_uppercase().replace('-', "_")))
    }

    /// Its key in this table of trustup.toml.
    pub(crate) fn key_in(&self, table: &str) -> Option<&'static str> {
        self.keys.iter().find_map(|key| key.strip_prefix(table)?.strip_prefix('.'))
    }

    /// A value as messages may show it.
    pub(crate) fn show(&self, text: &str) -> String {
        match self.kind {
            OptionKind::Address => text::mask_url(text),
            _ => text::escape(text),
        }
    }
}

/// What an option is unless it says otherwise.
pub(super) const SPEC: Spec = Spec {
    name: "",
    flag: Flag::Long,
    short: None,
    value_name: "",
    help: "",
    kind: OptionKind::Text,
    hides_words: false,
    wanted: "",
    is_delimited: false,
    takes_hyphens: false,
    integers: None,
    takes_moments: false,
    excludes: &[],
    variable: Variable::Allowed,
    published: None,
    keys: &[],
    group: Group::None,
    default: None,
};
