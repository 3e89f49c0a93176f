//! A package on its way in: believed step by step.
//!
//! Owns the order of those steps (see the room's documentation). Must not know what is installed.

use pipewright_sandbox::Sandbox;
use pipewright_sandbox::abi::Description;
use pipewright_sandbox::binary::Interfaces;
use semver::Version;

use super::origin::Signed;
use super::package::Head;
use super::{Facts, Origin, PackageError, Policy, Trust, reference};

/// Signed by whom the policy wants, and described; its code was not fetched yet.
pub struct Candidate {
    origin: Origin,
    pub(super) signed: Signed,
    pub(super) config: Vec<u8>,
    interfaces: Interfaces,
    description: Description,
    pub trust: Trust,
}

/// A candidate whose code is here, and is what it was said to be.
pub struct Fetched {
    pub candidate: Candidate,
    pub(super) component: Vec<u8>,
}

impl Candidate {
    /// Reads the manifest and its signatures, asks the policy, and only then reads the description.
    ///
    /// # Errors
    /// Every kind of [`PackageError`] but `Refused`.
    pub async fn read(origin: Origin, policy: &Policy) -> Result<Self, PackageError> {
        let signed = signed(&origin).await?;
        let trust = judge(&origin, &signed, policy)?;
        let config = origin.config(&signed.head).await?;
        let (interfaces, description) = signed.head.config(&config)?;
        Ok(Self { origin, signed, config, interfaces, description, trust })
    }

    /// What is known of a package without its code; of one that is not trusted only what its manifest says.
    pub async fn inspect(origin: Origin, policy: &Policy) -> Result<Facts, PackageError> {
        let signed = signed(&origin).await?;
        match judge(&origin, &signed, policy) {
            Ok(trust) => {
                let (interfaces, description) = signed.head.config(&origin.config(&signed.head).await?)?;
                Ok(Facts::of_package(&signed.head, &description, &interfaces, &trust))
            }
            Err(PackageError::Untrusted { reason, .. }) => Ok(Facts::of_untrusted(&signed.head, reason)),
            Err(error) => Err(error),
        }
    }

    pub fn name(&self) -> &str {
        &self.signed.head.name
    }

    pub fn version(&self) -> &Version {
        &self.signed.head.version
    }

    /// `team/name 1.0.0`.
    pub fn label(&self) -> String {
        self.signed.head.label()
    }

    pub fn facts(&self) -> Facts {
        Facts::of_package(&self.signed.head, &self.description, &self.interfaces, &self.trust)
    }

    /// As a lock says it.
    pub fn source(&self) -> String {
        match &self.origin {
            Origin::Registry { reference, .. } => reference.to_string(),
            Origin::Blobs { is_file: true, .. } => "file".to_owned(),
            Origin::Blobs { .. } => "archive".to_owned(),
        }
    }

    /// Fetches the code, and compares what it says of itself with what was shown.
    pub async fn fetch(self, sandbox: &Sandbox) -> Result<Fetched, PackageError> {
        let label = self.label();
        let component = self.origin.component(&self.signed.head).await?;
        let interfaces = Interfaces::of(&component).map_err(|error| PackageError::invalid(&label, error))?;
        let loaded = match self.interfaces.is_tool() {
            // It says nothing of itself, so that only its interfaces can be others.
            true => sandbox.check_tool(component.as_slice().into()).await.map(|()| self.description.clone()),
            false => sandbox.load(component.as_slice().into()).await.map(|plugin| plugin.description().clone()),
        };
        let loaded = loaded.map_err(|error| PackageError::load(&label, error))?;
        let mut differences = Vec::new();
        let (told, found) = (&self.description, &loaded);
        for (what, same) in [
            ("name", told.name == found.name),
            ("version", told.version == found.version),
            ("documentation", told.documentation == found.documentation),
            ("asks", told.asks == found.asks),
            ("action types", told.action_types == found.action_types),
            ("answer to whether it may run again", told.may_run_again == found.may_run_again),
            ("interfaces", self.interfaces == interfaces),
        ] {
            if !same {
                differences.push(what);
            }
        }
        if !differences.is_empty() {
            let reason =
                format!("its component has another {} than its description says", differences.join(", another "));
            return Err(PackageError::False { package: label, reason });
        }
        Ok(Fetched { candidate: self, component })
    }
}

async fn signed(origin: &Origin) -> Result<Signed, PackageError> {
    let signed = origin.signed().await?;
    if let Origin::Registry { reference, .. } = origin {
        check_tag(&signed.head, reference.tag.as_deref())?;
    }
    Ok(signed)
}

/// A tag can be moved by whoever can write to the registry; one that promises a version must keep to it.
fn check_tag(head: &Head, tag: Option<&str>) -> Result<(), PackageError> {
    match tag.and_then(|tag| Some((tag, reference::version_of(tag)?))) {
        Some((tag, promised)) if promised != head.version => {
            let reason = format!("the tag says {tag}");
            Err(PackageError::False { package: format!("the package {}", head.label()), reason })
        }
        _ => Ok(()),
    }
}

fn judge(origin: &Origin, signed: &Signed, policy: &Policy) -> Result<Trust, PackageError> {
    if origin.is_file() {
        return policy.judge_file(&signed.head.name);
    }
    policy.judge(&signed.head.name, &signed.head.digest, &signed.signatures)
}
