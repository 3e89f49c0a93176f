//! What each account can use: which plugin serves an action type there.
//!
//! Owns the rule of who sees what. Must not know where plugins come from, how an offer is kept, or what a pipeline is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_pipeline::action_type::{ActionTypeInfo, ActionTypes};
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_sandbox::abi::Description;
use serde::{Deserialize, Serialize};

use super::workers::WorkerType;

/// An audience of more accounts is refused, as CodePipeline refuses it (`allowedAccounts`).
pub const AUDIENCE_MAX: usize = 1000;
/// Stands for every account, as in `allowedAccounts`.
const EVERYBODY: &str = "*";

/// The plugins of an account, by the action types that they serve there.
#[derive(Default)]
pub struct Catalogue {
    bindings: BTreeMap<ActionTypeId, Binding>,
    types: ActionTypes,
    described: ActionTypes,
    workers: BTreeMap<ActionTypeId, WorkerType>,
}

/// Which plugin serves an action type, and why.
#[derive(Clone)]
pub struct Binding {
    pub served: Served,
    pub whose: Provenance,
    pub notice: Option<Notice>,
}

/// An action type and what is known of the plugin that serves it.
#[derive(Clone)]
pub struct Served {
    pub about: Arc<Description>,
    /// Of the component.
    pub digest: String,
    pub info: ActionTypeInfo,
}

/// Through whom an account has a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It comes with the host, or the operator named its file.
    Host,
    /// The account installed it.
    Own,
    /// Another account installed it, and offers this action type.
    Offered { by: u64 },
}

/// An account lets others use one of its action types: account ids of 12 digits, or `*` for every account, each with the time since
/// when, in milliseconds since 1970. Of two accounts that offer the same type to a third, the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer(pub BTreeMap<String, u64>);

/// What the account that installed a version of a plugin says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub kind: NoticeKind,
    pub reason: String,
}

/// The same of a certain version, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// `team/name`
    pub name: String,
    pub version: String,
    #[serde(flatten)]
    pub notice: Notice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoticeKind {
    /// It runs, and whoever looks at it is told to use something else.
    Deprecated,
    /// No pipeline can be bound to it and no new execution runs it. What runs goes on.
    Yanked,
}

/// What accounts say of their own plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    pub offers: BTreeMap<(u64, ActionTypeId), Offer>,
    /// By account, and the plugin's name and version.
    pub notices: BTreeMap<(u64, String, String), Notice>,
    /// The action types of each account that its workers serve; none: it was there once.
    pub workers: BTreeMap<(u64, ActionTypeId), Option<WorkerType>>,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            NoticeKind::Deprecated => "deprecated",
            NoticeKind::Yanked => "yanked",
        };
        write!(f, "{kind}: {}", self.reason)
    }
}

impl Sharing {
    /// All that an account says of versions.
    pub fn noticed(&self, account: u64) -> Vec<Noticed> {
        let of_account = self.notices.iter().filter(|((of, ..), _)| *of == account);
        let noticed = |((_, name, version), notice): (&(u64, String, String), &Notice)| Noticed {
            name: name.clone(),
            version: version.clone(),
            notice: notice.clone(),
        };
        of_account.map(noticed).collect()
    }
}

impl Offer {
    /// The same offer to these accounts and to no other; none where one of them is no account, or where they are too many.
    pub fn to(&self, accounts: &[String], now: u64) -> Option<Self> {
        let is_account = |text: &String| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_right =
            accounts.len() <= AUDIENCE_MAX && accounts.iter().all(|text| text == EVERYBODY || is_account(text));
        let since = |account: &String| (account.clone(), self.0.get(account).copied().unwrap_or(now));
        is_right.then(|| Self(accounts.iter().map(since).collect()))
    }

    /// Since when it is made to an account.
    fn since(&self, account: u64) -> Option<u64> {
        let named = self.0.get(&format!("{account:012}"));
        named.into_iter().chain(self.0.get(EVERYBODY)).min().copied()
    }
}

/// Everything that is bound on this host, and the catalogues that follow from it.
#[derive(Default)]
pub(super) struct Known {
    pub host: BTreeMap<ActionTypeId, Served>,
    pub installed: BTreeMap<u64, BTreeMap<ActionTypeId, Served>>,
    /// The command-line tools that each account installed: the digests of their components, by `team/name@1.2.3`.
    pub tools: BTreeMap<u64, BTreeMap<String, Digest>>,
    pub sharing: Sharing,
    /// Those that were asked for since the last change.
    pub made: HashMap<u64, Arc<Catalogue>>,
}

impl Known {
    /// All that is bound anywhere.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.host.values().chain(self.installed.values().flat_map(BTreeMap::values))
    }

    /// The tools of an account, but for those that were yanked.
    pub fn tools(&self, account: u64) -> BTreeMap<String, Digest> {
        let is_yanked = |(name, version): (&str, &str)| {
            let notice = self.sharing.notices.get(&(account, name.to_owned(), version.to_owned()));
            notice.is_some_and(|notice| notice.kind == NoticeKind::Yanked)
        };
        let mut tools = self.tools.get(&account).cloned().unwrap_or_default();
        tools.retain(|tool, _| !tool.split_once('@').is_some_and(is_yanked));
        tools
    }

    pub fn catalogue(&self, account: u64) -> Catalogue {
        let mut catalogue = Catalogue::default();
        // Of what is not to be seen, only this is known: which settings are secret. A declaration may still hold them.
        for (id, served) in self.installed.values().flatten() {
            catalogue.described.insert(id.clone(), served.info.clone());
        }
        for (id, (whose, served)) in visible(account, &self.host, &self.installed, &self.sharing.offers) {
            let of = match whose {
                Provenance::Host => None,
                Provenance::Own => Some(account),
                Provenance::Offered { by } => Some(by),
            };
            let description = &served.about;
            let notice = of.and_then(|of| {
                let key = (of, description.name.clone(), description.version.clone());
                self.sharing.notices.get(&key).cloned()
            });
            catalogue.described.insert(id.clone(), served.info.clone());
            if notice.as_ref().is_none_or(|notice| notice.kind != NoticeKind::Yanked) {
                catalogue.types.insert(id.clone(), served.info.clone());
            }
            catalogue.bindings.insert(id.clone(), Binding { served: served.clone(), whose, notice });
        }
        let of_account = self.sharing.workers.iter().filter(|((of, _), _)| *of == account);
        for ((_, id), served) in of_account {
            let Some(served) = served else { continue };
            catalogue.described.insert(id.clone(), served.info.clone());
            catalogue.types.insert(id.clone(), served.info.clone());
            catalogue.workers.insert(id.clone(), served.clone());
        }
        catalogue
    }
}

/// What an account sees: its own before the host's, and what is offered to it only where it has neither. So nobody can put a plugin
/// in the place of one that another account uses.
fn visible<'a, T>(
    account: u64,
    host: &'a BTreeMap<ActionTypeId, T>,
    installed: &'a BTreeMap<u64, BTreeMap<ActionTypeId, T>>,
    offers: &BTreeMap<(u64, ActionTypeId), Offer>,
) -> BTreeMap<&'a ActionTypeId, (Provenance, &'a T)> {
    let mut seen = BTreeMap::new();
    let own = installed.get(&account).into_iter().flatten();
    for (id, served) in own {
        seen.insert(id, (Provenance::Own, served));
    }
    for (id, served) in host {
        seen.entry(id).or_insert((Provenance::Host, served));
    }
    let since = |((by, id), offer): (&'_ (u64, ActionTypeId), &Offer)| Some((offer.since(account)?, *by, id.clone()));
    let mut to_account: Vec<_> = offers.iter().filter_map(since).collect();
    to_account.sort();
    for (_, by, id) in &to_account {
        if let Some((id, served)) = installed.get(by).and_then(|theirs| theirs.get_key_value(id)) {
            seen.entry(id).or_insert((Provenance::Offered { by: *by }, served));
        }
    }
    seen
}

impl Catalogue {
    /// The plugin that serves an action type in this account today.
    pub fn bound(&self, id: &ActionTypeId) -> Option<&Served> {
        self.types.get(id).filter(|_| !self.workers.contains_key(id))?;
        self.bindings.get(id).map(|binding| &binding.served)
    }

    /// What is said of an action type that workers serve; a plugin that came later does not take its place.
    pub fn workers(&self, id: &ActionTypeId) -> Option<&WorkerType> {
        self.workers.get(id)
    }

    /// Why an action type cannot be used although it can be seen.
    pub fn yanked(&self, id: &ActionTypeId) -> Option<String> {
        let Binding { served, notice, .. } = self.bindings.get(id)?;
        let notice = notice.as_ref().filter(|notice| notice.kind == NoticeKind::Yanked)?;
        Some(format!("{} {} was {notice}", served.about.name, served.about.version))
    }

    /// Why something else is to be used in place of the plugin of this digest, which serves an action type and still runs.
    pub fn deprecated(&self, id: &ActionTypeId, digest: &str) -> Option<String> {
        let Binding { served, notice, .. } = self.bindings.get(id).filter(|binding| binding.served.digest == digest)?;
        let notice = notice.as_ref().filter(|notice| notice.kind == NoticeKind::Deprecated)?;
        Some(format!("{} {} is {notice}", served.about.name, served.about.version))
    }

    /// Everything that can be seen, also what was yanked.
    pub fn bindings(&self) -> &BTreeMap<ActionTypeId, Binding> {
        &self.bindings
    }

    /// What validation knows: the types that a pipeline can be bound to.
    pub fn types(&self) -> &ActionTypes {
        &self.types
    }

    /// Also of types that cannot be used any more: to know which settings of a declaration are secret, and for nothing else.
    pub fn described(&self) -> &ActionTypes {
        &self.described
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_pipeline::declaration::{ActionCategory, ActionOwner};

    fn id(provider: &str) -> ActionTypeId {
        let (category, owner) = (ActionCategory::Deploy, ActionOwner::Custom);
        ActionTypeId { category, owner, provider: provider.to_owned(), version: "1".to_owned() }
    }

    fn served(of: &'static str, providers: &[&str]) -> BTreeMap<ActionTypeId, &'static str> {
        providers.iter().map(|provider| (id(provider), of)).collect()
    }

    #[test]
    fn an_account_sees_its_own_the_host_s_and_what_is_offered_to_it() {
        let host = served("host", &["Site", "Files"]);
        let installed = BTreeMap::from([
            (1, served("one's", &["Files", "Post", "Mine"])),
            (2, served("two's", &["Post", "Site", "Theirs"])),
        ]);
        let offer =
            |accounts: &[&str], since| Offer(accounts.iter().map(|account| ((*account).to_owned(), since)).collect());
        let check = |offers: &[(u64, &str, Offer)], account, expected: &[&str]| {
            let offers = offers.iter().map(|(by, provider, offer)| ((*by, id(provider)), offer.clone())).collect();
            let seen = visible(account, &host, &installed, &offers);
            let shown = seen.iter().map(|(id, (_, served))| format!("{}: {served}", id.provider));
            assert_eq!(shown.collect::<Vec<_>>(), expected, "account {account}, offers {offers:?}");
        };
        check(&[], 0, &["Files: host", "Site: host"]);
        check(&[], 1, &["Files: one's", "Mine: one's", "Post: one's", "Site: host"]);
        let to_three = ["000000000003"];
        let one = (1, "Post", offer(&to_three, 7));
        check(std::slice::from_ref(&one), 3, &["Files: host", "Post: one's", "Site: host"]);
        check(std::slice::from_ref(&one), 4, &["Files: host", "Site: host"]);
        check(&[one.clone(), (2, "Post", offer(&["*"], 8))], 3, &["Files: host", "Post: one's", "Site: host"]);
        check(&[one.clone(), (2, "Post", offer(&["*"], 6))], 3, &["Files: host", "Post: two's", "Site: host"]);
        // Neither the host's nor one's own is replaced by what others offer, nor is what is not there.
        check(&[(2, "Site", offer(&["*"], 1))], 3, &["Files: host", "Site: host"]);
        check(&[(2, "Post", offer(&["*"], 1))], 1, &["Files: one's", "Mine: one's", "Post: one's", "Site: host"]);
        check(&[(1, "Theirs", offer(&["*"], 1))], 3, &["Files: host", "Site: host"]);
    }

    #[test]
    fn an_audience_is_accounts_and_each_keeps_its_place() {
        let check = |accounts: &[&str], expected: Option<&[(&str, u64)]>| {
            let before = Offer(BTreeMap::from([("000000000003".to_owned(), 7)]));
            let accounts: Vec<String> = accounts.iter().map(|account| (*account).to_owned()).collect();
            let expected = expected.map(|offer| Offer(offer.iter().map(|(a, at)| ((*a).to_owned(), *at)).collect()));
            assert_eq!(before.to(&accounts, 9), expected, "{accounts:?}");
        };
        check(&[], Some(&[]));
        check(&["*", "000000000003"], Some(&[("*", 9), ("000000000003", 7)]));
        check(&["3"], None);
        check(&["00000000000x"], None);
        check(&vec!["*"; AUDIENCE_MAX + 1], None);
    }
}
