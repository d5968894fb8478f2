//! What a run changes of what is trusted, as data: applied to a state it gives the [`Goal`] for that state. A run that
//! finds another state under the lock than before applies the same change again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Extra, Goal};
use crate::error::{Error, Result};
use crate::pki::cert::anchor_name;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::Sysroot;
use crate::trust::source::{Acquired, SourceReport};
use crate::trust::state::{State, Status, StoredAnchor, StoredSource};

/// What to change of what is trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TrustChange<'a> {
    /// Trust these roots, too.
    Add(NewTrust<'a>),
    /// Trust these roots no longer.
    Remove(Removal<'a>),
    /// Change no root; tell login shells where the roots are.
    InstallProfile,
}

/// Roots that become trusted, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTrust<'a> {
    /// What the sources gave.
    pub(crate) acquired: &'a Acquired,
    /// The name of the anchor file, without extension; if `None`, each is named after its certificate.
    pub(crate) anchor_name: Option<&'a str>,
    /// The system's own stores get them. A private store, which is a system of its own, always does.
    pub(crate) to_system: bool,
    /// Keystores or databases beside the system's stores get them.
    pub(crate) beside: bool,
    /// An image without a bundle gets the Web PKI's roots.
    pub(crate) with_web_pki: bool,
    /// Firefox's policy file names the roots; that of the system only.
    pub(crate) firefox_policy: bool,
    /// The file of the system that gets a copy of the accepted roots.
    pub(crate) copy: Option<&'a str>,
}

/// Roots that are trusted no longer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Removal<'a> {
    /// All that trustup installed.
    All,
    /// Those with these fingerprints.
    Of(&'a [Fingerprint]),
}

impl Removal<'_> {
    /// Whether this root is one of them.
    pub(crate) fn covers(&self, anchor: &StoredAnchor) -> bool {
        match self {
            Removal::All => true,
            Removal::Of(fingerprints) => fingerprints.contains(&anchor.fingerprint),
        }
    }
}

/// The error where a root of trustup's is needed and none is installed.
pub(crate) fn nothing_trusted(sysroot: &Sysroot) -> Error {
    Error::not_trusted("trustup installed no root here, so there is nothing to point programs at")
        .at(sysroot.path().display())
        .hint("run `trustup bootstrap` first")
}

impl TrustChange<'_> {
    /// The goal for a tree with this state.
    ///
    /// # Errors
    /// No root is installed, and the change needs one.
    pub(super) fn goal(&self, sysroot: &Sysroot, state: &State) -> Result<Goal> {
        match self {
            TrustChange::Add(new) => Ok(new.goal(state, sysroot.is_private())),
            TrustChange::Remove(removal) => Ok(removal.goal(state)),
            TrustChange::InstallProfile
                if !state.anchors.iter().any(|anchor| anchor.status.is_in_system()) =>
            {
                Err(nothing_trusted(sysroot))
            }
            TrustChange::InstallProfile => Ok(Goal { profile: Extra::Installed, ..kept(state) }),
        }
    }
}

/// The goal that keeps everything as it is.
fn kept(state: &State) -> Goal {
    Goal {
        anchors: state.anchors.clone(),
        sources: state.sources.clone(),
        web_pki: state.web_pki,
        profile: state.profile.into(),
        firefox_policy: state.firefox_policy.into(),
        ..Goal::default()
    }
}

impl Removal<'_> {
    fn goal(&self, state: &State) -> Goal {
        let mut goal = kept(state);
        goal.anchors.retain(|anchor| !self.covers(anchor));
        let anchors = &goal.anchors;
        for source in goal.sources.values_mut() {
            source
                .fingerprints
                .retain(|fingerprint| anchors.iter().any(|anchor| anchor.fingerprint == *fingerprint));
        }
        // A bundle's record stays while it names roots that were once removed; the others are no longer needed.
        goal.sources.retain(|_, source| !source.fingerprints.is_empty() || !source.removed.is_empty());
        goal.web_pki &= !goal.anchors.is_empty();
        goal
    }
}

impl NewTrust<'_> {
    /// All that was trusted, except what its bundle no longer holds, and the new roots.
    fn goal(&self, state: &State, is_private: bool) -> Goal {
        let Goal { mut anchors, mut sources, profile, .. } = kept(state);
        for report in &self.acquired.sources {
            rename_source(report, &mut sources, &mut anchors);
            update_source(report, &mut sources, &mut anchors);
        }
        self.add_anchors(&mut anchors, self.to_system || is_private);
        anchors.retain(|anchor| !anchor.sources.is_empty());
        // A reused name passes to the new certificate.
        if let (Some(name), Some(came)) = (self.anchor_name, self.acquired.anchors.first()) {
            let fingerprint = came.certificate.fingerprint();
            anchors.retain(|anchor| anchor.name != name || anchor.fingerprint == fingerprint);
        }
        // Both belong to the system.
        let copy = self.copy.filter(|_| !is_private).map(|path| {
            let roots = self.acquired.anchors.iter().map(|anchor| anchor.certificate.to_pem());
            (path.to_owned(), roots.collect())
        });
        let firefox_policy = match (is_private, self.firefox_policy) {
            (true, _) => Extra::Absent,
            (false, true) => Extra::Installed,
            (false, false) => state.firefox_policy.into(),
        };
        let web_pki = state.web_pki || self.with_web_pki;
        Goal { anchors, sources, web_pki, copy, profile, firefox_policy, asked: self.asked() }
    }

    fn add_anchors(&self, anchors: &mut Vec<StoredAnchor>, to_system: bool) {
        let Acquired { anchors: new, sources: reports, .. } = self.acquired;
        for came in new {
            let fingerprint = came.certificate.fingerprint();
            let name = self.anchor_name.map_or_else(|| anchor_name(&came.certificate), ToOwned::to_owned);
            let index = match anchors.iter().position(|anchor| anchor.fingerprint == fingerprint) {
                Some(index) => index,
                None => {
                    anchors.push(StoredAnchor::new(&came.certificate, name.clone(), came.source.clone()));
                    anchors.len() - 1
                }
            };
            let anchor = &mut anchors[index];
            if self.anchor_name.is_some() {
                anchor.name = name;
            }
            let gave = |report: &&SourceReport| report.fingerprints.contains(&fingerprint);
            anchor.pinned |= came.pinned
                || reports
                    .iter()
                    .any(|report| report.by_pin && report.contacted && report.fresh && gave(&report));
            anchor.status = match anchor.status {
                Status::Recorded | Status::Beside if to_system => Status::Installed,
                Status::Recorded if self.beside => Status::Beside,
                status => status,
            };
            for report in reports.iter().filter(gave) {
                if !anchor.sources.contains(&report.id) {
                    anchor.sources.push(report.id.clone());
                }
            }
        }
    }

    /// The roots that this run was asked for: those that a fingerprint names, and those that a source gave now. What an
    /// earlier run recorded of an unreachable source was asked for then, or is forged (threat T33).
    fn asked(&self) -> BTreeSet<Fingerprint> {
        let gave = |fingerprint: &Fingerprint| {
            let mut reports = self.acquired.sources.iter();
            reports
                .any(|report| report.contacted && report.fresh && report.fingerprints.contains(fingerprint))
        };
        let came =
            self.acquired.anchors.iter().map(|anchor| (anchor.certificate.fingerprint(), anchor.pinned));
        let mut asked: BTreeSet<Fingerprint> =
            came.filter(|(fingerprint, pinned)| *pinned || gave(fingerprint)).map(|(one, _)| one).collect();
        if self.with_web_pki {
            asked.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Fingerprint::of(der)));
        }
        asked
    }
}

/// Renames a source that an older version recorded under a former name. If two sources had that name, the one that
/// still gives some of its roots is meant.
fn rename_source(
    report: &SourceReport,
    sources: &mut BTreeMap<String, StoredSource>,
    anchors: &mut [StoredAnchor],
) {
    let Some(former) = report.former_id.as_ref().filter(|_| !sources.contains_key(&report.id)) else {
        return;
    };
    let is_meant = sources.get(former).is_some_and(|stored| {
        let mut gave = stored.fingerprints.iter().chain(&stored.removed);
        gave.any(|one| report.fingerprints.contains(one))
    });
    if !is_meant {
        return;
    }
    if let Some(stored) = sources.remove(former) {
        sources.insert(report.id.clone(), stored);
    }
    for name in anchors.iter_mut().flat_map(|anchor| &mut anchor.sources) {
        if name == former {
            name.clone_from(&report.id);
        }
    }
}

/// Records what a source gave. An anchor that a bundle no longer holds loses this source.
fn update_source(
    report: &SourceReport,
    sources: &mut BTreeMap<String, StoredSource>,
    anchors: &mut [StoredAnchor],
) {
    let stored = sources.entry(report.id.clone()).or_default();
    stored.replaces |= report.replaces;
    if !report.fresh {
        return;
    }
    let now = &report.fingerprints;
    if report.replaces {
        let left: Vec<Fingerprint> =
            stored.fingerprints.iter().filter(|one| !now.contains(one)).copied().collect();
        for anchor in anchors.iter_mut().filter(|anchor| left.contains(&anchor.fingerprint)) {
            anchor.sources.retain(|source| *source != report.id);
        }
        stored.removed.extend(left);
        stored.removed.retain(|one| !now.contains(one));
        stored.fingerprints.clone_from(now);
    } else {
        let new: Vec<Fingerprint> =
            now.iter().filter(|one| !stored.fingerprints.contains(one)).copied().collect();
        stored.fingerprints.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::cert::Certificate;
    use crate::trust::source::AcquiredAnchor;

    fn root(index: usize) -> Certificate {
        Certificate::from_der(&webpki_root_certs::TLS_SERVER_ROOT_CERTS[index]).expect("a root")
    }

    /// What one source gave: these roots.
    fn acquired(source: &str, roots: &[&Certificate], replaces: bool) -> Acquired {
        let anchor = |certificate: &&Certificate| AcquiredAnchor {
            certificate: (*certificate).clone(),
            source: source.to_owned(),
            pinned: false,
            file: None,
        };
        let report = SourceReport {
            id: source.to_owned(),
            former_id: None,
            replaces,
            contacted: true,
            fresh: true,
            by_pin: false,
            vouched_by: None,
            proxy: None,
            cached: false,
            fingerprints: roots.iter().map(|root| root.fingerprint()).collect(),
        };
        let anchors = roots.iter().map(anchor).collect();
        Acquired { anchors, sources: vec![report], ..Acquired::default() }
    }

    fn new(acquired: &Acquired) -> NewTrust<'_> {
        NewTrust {
            acquired,
            anchor_name: None,
            to_system: true,
            beside: false,
            with_web_pki: false,
            firefox_policy: false,
            copy: None,
        }
    }

    /// The state that reaches this goal.
    fn reached(goal: Goal) -> State {
        State { anchors: goal.anchors, sources: goal.sources, web_pki: goal.web_pki, ..State::default() }
    }

    fn fingerprints(goal: &Goal) -> Vec<Fingerprint> {
        goal.anchors.iter().map(|anchor| anchor.fingerprint).collect()
    }

    #[test]
    fn a_bundle_takes_back_what_it_no_longer_holds() {
        let (one, other) = (root(0), root(1));
        let state = reached(new(&acquired("bundle", &[&one, &other], true)).goal(&State::default(), false));
        let goal = new(&acquired("bundle", &[&other], true)).goal(&state, false);
        assert_eq!(fingerprints(&goal), [other.fingerprint()]);
        assert_eq!(goal.sources["bundle"].removed, [one.fingerprint()]);
        assert_eq!(goal.asked, [other.fingerprint()].into());

        let goal = new(&acquired("file", &[&other], false)).goal(&state, false);
        assert_eq!(fingerprints(&goal), [one.fingerprint(), other.fingerprint()]);
        assert_eq!(goal.anchors[1].sources, ["bundle", "file"]);
    }

    #[test]
    fn a_name_passes_to_the_new_certificate() {
        let (one, other) = (root(0), root(1));
        let named = |root| acquired("file", &[root], false);
        let first = named(&one);
        let state =
            reached(NewTrust { anchor_name: Some("ours"), ..new(&first) }.goal(&State::default(), false));
        let second = named(&other);
        let goal = NewTrust { anchor_name: Some("ours"), ..new(&second) }.goal(&state, false);
        assert_eq!(fingerprints(&goal), [other.fingerprint()]);
    }

    #[test]
    fn a_private_store_installs_every_root_and_has_nothing_of_the_systems() {
        let root = root(0);
        let acquired = acquired("file", &[&root], false);
        let trust =
            NewTrust { to_system: false, copy: Some("/ca.pem"), firefox_policy: true, ..new(&acquired) };
        let system = trust.goal(&State::default(), false);
        assert_eq!(system.anchors[0].status, Status::Recorded);
        assert_eq!(system.copy, Some(("/ca.pem".to_owned(), root.to_pem())));
        assert_eq!(system.firefox_policy, Extra::Installed);
        let private = trust.goal(&State::default(), true);
        assert_eq!(private.anchors[0].status, Status::Installed);
        assert_eq!((private.copy, private.firefox_policy), (None, Extra::Absent));
    }

    #[test]
    fn what_is_removed_keeps_only_what_a_bundle_once_removed() {
        let (one, other) = (root(0), root(1));
        let state = reached(new(&acquired("file", &[&one], false)).goal(&State::default(), false));
        let state = reached(new(&acquired("bundle", &[&other], true)).goal(&state, false));
        let state = reached(new(&acquired("bundle", &[], true)).goal(&state, false));
        let state = State { web_pki: true, ..state };

        let nothing = Removal::Of(&[other.fingerprint()]).goal(&state);
        assert_eq!(fingerprints(&nothing), [one.fingerprint()]);
        assert!(nothing.web_pki);
        let goal = Removal::All.goal(&state);
        assert_eq!(fingerprints(&goal), []);
        assert_eq!(goal.sources.keys().collect::<Vec<_>>(), ["bundle"]);
        assert!(!goal.web_pki);
    }

    #[test]
    fn login_shells_are_told_only_of_installed_roots() {
        let directory = tempfile::tempdir().expect("a directory");
        let sysroot = Sysroot::open(directory.path()).expect("a sysroot");
        let change = TrustChange::InstallProfile;
        assert!(change.goal(&sysroot, &State::default()).is_err());
        let root = root(0);
        let acquired = acquired("file", &[&root], false);
        let state = reached(new(&acquired).goal(&State::default(), false));
        let goal = change.goal(&sysroot, &state).expect("a goal");
        assert_eq!((goal.profile, goal.anchors.len()), (Extra::Installed, 1));
        let recorded = NewTrust { to_system: false, ..new(&acquired) };
        let state = reached(recorded.goal(&State::default(), false));
        assert!(change.goal(&sysroot, &state).is_err());
    }
}
