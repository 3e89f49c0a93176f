//! How strongly a job is held apart, and which of that this machine offers.
//!
//! Must not know how a level is made; it is found out by running a job at it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// From the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The machine's own file system and processes, of which a user of its own, Landlock, seccomp and resource limits leave next
    /// to nothing.
    Restricted,
    /// Own namespaces; of the machine's files only those that the operator named, read-only.
    Toolchain,
    /// Own namespaces; an image's root file system below a layer of the job's own.
    Image,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Restricted, Self::Toolchain, Self::Image];

    pub fn name(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Toolchain => "toolchain",
            Self::Image => "image",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a level is not to be had, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("isolation level `{level}`: {reason}; {mend}")]
pub struct Refusal {
    pub level: Level,
    pub reason: String,
    pub mend: String,
}

/// What this machine offers, level by level.
#[derive(Clone, Debug)]
pub struct Offers {
    pub(crate) levels: [(Level, Result<(), Refusal>); 3],
}

impl Offers {
    pub fn at(&self, level: Level) -> Result<(), &Refusal> {
        self.levels.iter().find(|(it, _)| *it == level).map_or(Ok(()), |(_, offered)| offered.as_ref().copied())
    }

    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.levels.iter().filter_map(|(_, offered)| offered.as_ref().err())
    }
}

/// Where making a job's surroundings failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// What the job names is not there, or not for it.
    Job,
    UserNamespace,
    Mounts,
    Overlay,
    Bubblewrap,
    Landlock,
    OwnUser,
    Other,
}

impl Step {
    pub(crate) fn mend(self) -> &'static str {
        match self {
            Self::Job => "let what it names be there, and reachable for the user that jobs run as",
            Self::UserNamespace => {
                "allow user namespaces: sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 where it \
                 exists, an AppArmor profile with `userns,` for this program (or kernel.apparmor_restrict_unprivileged_userns=0); \
                 in a container a seccomp profile that lets unshare pass"
            }
            Self::Mounts => {
                "use Linux 5.12 or newer; in a container, let /proc be mounted anew (an unmasked /proc), or run on the machine itself"
            }
            Self::Overlay => {
                "use Linux 5.11 or newer with overlayfs; images that are unpacked have to be on a disk that is no overlay itself"
            }
            Self::Bubblewrap => "install bubblewrap 0.4 or newer (the package `bubblewrap` of every distribution)",
            Self::Landlock => {
                "use Linux 6.12 or newer with `landlock` among the security modules (lsm=), or allow user namespaces for \
                 a stronger level"
            }
            Self::OwnUser => "run the host as root, so that jobs have a user of their own, or allow user namespaces",
            Self::Other => "see the reason",
        }
    }
}
