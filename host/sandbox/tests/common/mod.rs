//! What the tests with real guest programs share: a sandbox, a call, and a sink that remembers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pipewright_sandbox::abi::{Category, Context, Entry, NamedValue, Owner, Request, TypeId};
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::Outside;
use pipewright_sandbox::seam::{HostCall, Level, Sink};
use pipewright_sandbox::{Call, CompilerCommand, Sandbox, SandboxConfig};

/// Remembers everything.
#[derive(Default)]
pub struct Memory(Mutex<Vec<String>>);

impl Memory {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for Memory {
    fn log(&self, level: Level, line: &str) {
        self.0.lock().unwrap().push(format!("{level:?} {line}"));
    }

    fn progress(&self, percent: Option<u8>, summary: &str) {
        self.0.lock().unwrap().push(format!("{percent:?} {summary}"));
    }

    fn host_call(&self, call: HostCall) {
        self.0.lock().unwrap().push(format!("{} {}", call.capability, call.operation));
    }
}

pub fn config(cache: &Path) -> SandboxConfig {
    let compiler = CompilerCommand { program: env!("CARGO_BIN_EXE_compile-child").into(), args: Vec::new() };
    SandboxConfig { pooled_calls_max: 20, ..SandboxConfig::new(cache, compiler) }
}

/// A compile cache that the tests share, so that each guest is compiled once.
pub fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-cache")
}

pub fn sandbox() -> Sandbox {
    Sandbox::new(config(&shared_cache())).unwrap()
}

/// A call of the guest that offers `Invoke/Custom/PROVIDER/1`, with nothing but settings.
pub fn call(provider: &str, settings: &[(&str, &str)], sink: Arc<dyn Sink>) -> Call {
    let setting = |(name, value): &(&str, &str)| NamedValue { name: (*name).to_owned(), value: (*value).to_owned() };
    let request = Request {
        action_type: TypeId {
            category: Category::Invoke,
            owner: Owner::Custom,
            provider: provider.to_owned(),
            version: "1".to_owned(),
        },
        context: Context {
            account: "000000000000".to_owned(),
            region: "local".to_owned(),
            pipeline: "P".to_owned(),
            execution_id: "E".to_owned(),
            stage: "S".to_owned(),
            action: "A".to_owned(),
            action_execution_id: "X".to_owned(),
        },
        settings: settings.iter().map(setting).collect(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        commands: Vec::new(),
        environment: Vec::new(),
        output_variables: Vec::new(),
        idempotency_key: "key".to_owned(),
        attempt: 1,
        resumed: None,
    };
    Call {
        tenant: 0,
        entry: Entry::Invoke,
        request,
        granted_as: None,
        grants: Grants::default(),
        time: None,
        inputs: Vec::new(),
        work_dir: std::env::temp_dir(),
        secret_environment: Vec::new(),
        ended: None,
        caches: Default::default(),
        tools: Default::default(),
        limits: CallLimits::default(),
        sink,
        outside: Outside::Live,
    }
}
