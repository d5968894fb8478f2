//! An option's declaration, all but its type: its form, what may set it, and its place in trustup.toml.

use crate::text;

/// The form of an option on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `--NAME`
    Long,
    /// By its position.
    Positional,
    /// The arguments after `--`.
    Trailing,
    /// None: only a variable or the file.
    Absent,
}

/// The kind of an option's value: its form in trustup.toml, and in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OptionKind {
    /// `true` or `false`.
    Switch,
    /// A string.
    Text,
    /// A URL, or text that may be one: messages show it without its password.
    Address,
    /// A path: absolute in the file, and without a `KEY_file`.
    Path,
    /// The location of a secret: a file, `-`, or `fd:N`. In the file the key holds it, or `KEY_file` names its file.
    Secret,
    /// One of these words.
    Words(fn() -> Vec<String>),
}

/// Which options a variable may set, `TRUSTUP_` and the flag in capitals.
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
    /// It loosens a check, so only the command line may set it (threat T1).
    LoosensACheck,
    /// It accepts places that other users can write. Who may write trustup.toml may decide that, so there is a key; the
    /// file itself has an option of its own (threat T41).
    AcceptsSharedPlaces,
    /// It removes trust (threat T1).
    RemovesTrust,
    /// It names a program that is run (threat T1).
    RunsAProgram,
    /// The method that needs this secret reads TRUSTUP_TOKEN by itself, after the files.
    ReadByItsMethod,
    /// Another command has an option of this name with another meaning, and a variable has one meaning.
    Ambiguous,
    /// It applies to one run of one command.
    OneRun,
    /// It is not an option but an argument, or only a key of trustup.toml, or a published variable by itself.
    NoFlag,
}

/// Options that name sources of certificates (threat T1): they are read from one layer as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Not one of them.
    None,
    /// Names a source.
    Source,
    /// Pins a source: empty is an error, never "no pin".
    Pin,
    /// Widens what is accepted from a source: it names none, and if another layer names the sources, that of the file
    /// is ignored.
    Widening,
}

impl Group {
    /// Whether an option of this group makes its layer the one that names sources and pins.
    pub(crate) fn names_sources(self) -> bool {
        matches!(self, Group::Source | Group::Pin)
    }
}

/// Everything of an option but its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// The flag without dashes; without a flag, the name of the argument, variable or key. Unique.
    pub(crate) name: &'static str,
    pub(crate) flag: Flag,
    pub(crate) short: Option<char>,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: OptionKind,
    /// Whether the possible values are omitted from the help.
    pub(crate) hides_words: bool,
    /// The form of a value, for messages about the file.
    pub(crate) wanted: &'static str,
    /// Values in one argument or variable are separated by commas.
    pub(crate) is_delimited: bool,
    /// Values may begin with `-`.
    pub(crate) takes_hyphens: bool,
    /// In trustup.toml a whole number of this base is also a value.
    pub(crate) integers: Option<u32>,
    /// In trustup.toml a date and time is also a value.
    pub(crate) takes_moments: bool,
    /// Flags that exclude this one.
    pub(crate) excludes: &'static [&'static str],
    pub(crate) variable: Variable,
    /// The variable of published images with the same meaning.
    pub(crate) published: Option<&'static str>,
    /// Its keys in trustup.toml, with their table: `trust.root_url`.
    pub(crate) keys: &'static [&'static str],
    pub(crate) group: Group,
    /// As shown in the help.
    pub(crate) default: Option<&'static str>,
}

impl Spec {
    /// `--NAME` for messages.
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

/// The default declaration of an option.
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
