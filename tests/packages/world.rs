//! One person's machine: a home with docker credentials, keys, components, and a data directory; and the command line.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use base64::Engine as _;
use pipewright_packages::SigningKey;

use super::registry::{PASSWORD, Registry, USER};
use crate::server::{cache_home, share_compiled};

const PASSPHRASE: &str = "a passphrase";
/// Everybody's, in every world: sealing one takes as long as it must.
static KEYS: LazyLock<[(&str, [String; 2]); 3]> = LazyLock::new(|| {
    ["maria", "jo", "eve"].map(|name| {
        let key = SigningKey::generate().unwrap();
        (name, [key.to_pem(PASSPHRASE).unwrap(), key.public().to_pem()])
    })
});
/// Where the guest's text is, and its length.
const SAYS: &[u8] = b"the packaged guest says:\n";
const SAYS_BYTES: usize = 512;

pub struct World<R = Registry> {
    pub home: tempfile::TempDir,
    pub registry: R,
}

/// A registry, the real one or one that is played.
pub trait Registered {
    /// `localhost:PORT`
    fn host(&self) -> String;
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// A registry to which the user is logged in; the keys `maria`, `jo` and `eve`; and a policy that lets Maria sign what is
    /// called `team/*`.
    pub fn new() -> Option<Self> {
        Some(Self::with(Registry::start()?))
    }
}

impl<R: Registered> World<R> {
    pub fn with(registry: R) -> Self {
        let world = Self { home: tempfile::tempdir().unwrap(), registry };
        share_compiled(&world.path("data"));
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let docker = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", world.registry.host());
        world.write(".docker/config.json", docker);
        for (name, [private, public]) in KEYS.iter() {
            world.write(&format!("{name}.key"), private);
            world.write(&format!("{name}.key.pub"), public);
        }
        world.policy("[names.\"team/*\"]\nkeys = [\"../../maria.key.pub\"]\n");
        world
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn policy(&self, text: &str) {
        self.write("data/plugins/policy.toml", text);
    }

    /// A component of this name and version, with these asks, as `NAME-VERSION.wasm`; of the type `Invoke/Custom/Packaged/MAJOR`.
    pub fn component(&self, name: &str, version: &str, asks: &[&str]) -> String {
        let file = format!("{}-{version}.wasm", name.replace('/', "-"));
        let major = version.split('.').next().unwrap();
        self.write(&file, component(name, version, major, asks));
        file
    }

    /// `localhost:PORT/REPOSITORY`
    pub fn reference(&self, repository: &str) -> String {
        format!("{}/{repository}", self.registry.host())
    }

    /// Publishes a component under its own name, signed by this key.
    pub fn publish(&self, name: &str, version: &str, asks: &[&str], key: &str) {
        let file = self.component(name, version, asks);
        self.run(&["publish", &file, &self.reference(name), "--key", &format!("{key}.key")]).succeeded();
    }

    /// `pipewright plugin …`, in the home.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        // A command that was printed names it already.
        let takes_data = !["publish", "key"].contains(&arguments[0]) && !arguments.contains(&"--data");
        let data = if takes_data { &["--data", "data"][..] } else { &[] };
        let output = Command::new(env!("CARGO_BIN_EXE_pipewright"))
            .arg("plugin")
            .args(arguments)
            .args(data)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", cache_home())
            .env("PIPEWRIGHT_KEY_PASSPHRASE", PASSPHRASE)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// It ended with this code, and said this in its error.
    #[track_caller]
    pub fn refused(&self, code: i32, said: &str) {
        assert!(self.code == code && self.stderr.contains(said), "{self:?}, instead of {code} with {said:?}");
    }
}

/// The guest `packaged`, which describes itself like this.
pub fn component(name: &str, version: &str, type_version: &str, asks: &[&str]) -> Vec<u8> {
    offering("Packaged", name, version, type_version, asks)
}

/// The same with another provider, or `ThirdParty/PROVIDER`.
pub fn offering(provider: &str, name: &str, version: &str, type_version: &str, asks: &[&str]) -> Vec<u8> {
    let mut bytes = pipewright_guests::get("packaged").to_vec();
    let at = bytes.windows(SAYS.len()).position(|window| window == SAYS).expect("the guest has its text");
    let mut says = format!("{name}\n{version}\n{provider}\n{type_version}\n{}\n", asks.join("\n")).into_bytes();
    says.resize(SAYS_BYTES - SAYS.len(), b'\n');
    bytes[at + SAYS.len()..at + SAYS_BYTES].copy_from_slice(&says);
    bytes
}
