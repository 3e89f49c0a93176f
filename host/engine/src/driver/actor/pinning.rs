//! What a start pins of what lies outside of its pipeline: grants, and parts of the account's record.
//!
//! Must not know what any of them says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use pipewright_base::Digest;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{InputKind, StartRequest};

use super::super::{DriverError, GRANTS_PIN, Granted, part_pin, record};
use super::{Actor, Puts, Submission};

impl Actor {
    /// A start pins grants and parts of the account's record, which are read beside what the pipeline does meanwhile; gives
    /// what is ready.
    pub(super) fn prepare(&mut self, mut asked: Box<Submission>) -> Option<Box<Submission>> {
        let declaration = match (&asked.what, &asked.with.then) {
            (InputKind::Start(_), _) => self.state.declaration.as_ref(),
            (InputKind::Create { declaration }, Some(_)) => Some(declaration),
            _ => None,
        };
        let Some(declaration) = declaration else { return Some(asked) };
        let account = self.aggregate.account;
        let mut reading = self.shared.actions.grants(account, &declaration.name);
        let mut parts = self.shared.actions.parts(declaration);
        parts.retain(|key| !asked.with.parts.contains_key(key));
        if parts.is_empty()
            && let Some(grants) = (&mut reading).now_or_never()
        {
            asked.with.grants = grants;
            return Some(asked);
        }
        let shared = Arc::clone(&self.shared);
        self.preparing.spawn(async move {
            asked.with.grants = reading.await;
            match shared.accounts.parts(&shared.pen(), account).await {
                Ok(there) => {
                    let found = parts.into_iter().filter_map(|key| Some((there.get(&key)?.clone(), key)));
                    asked.with.parts.extend(found.map(|(value, key)| (key, value)));
                }
                Err(error) => asked.with.grants = Err(error.to_string()),
            }
            asked
        });
        None
    }

    /// Has a start hold on to what counts now; gives what is to be kept for it, in the same record.
    pub(super) fn pin(
        &self,
        request: &mut StartRequest,
        declaration: &PipelineDeclaration,
        (grants, parts): (&Granted, &BTreeMap<String, Bytes>),
    ) -> Result<Puts, DriverError> {
        request.pins = self.shared.actions.pins(self.aggregate.account, declaration);
        let grants = grants.clone().map_err(DriverError::Unpinned)?;
        let grants = grants.map(|bytes| (GRANTS_PIN.to_owned(), bytes));
        let parts = parts.iter().map(|(key, bytes)| (part_pin(key), bytes.clone()));
        let mut kept = Puts::new();
        for (pin, bytes) in grants.into_iter().chain(parts) {
            let digest = Digest::of(&bytes).to_string();
            kept.push((record::grants(&digest), Some(bytes)));
            request.pins.insert(pin, digest);
        }
        Ok(kept)
    }
}
