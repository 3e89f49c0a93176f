//! Images of tests: made of this machine's own programs, or by hand where no tool would make them; pushed to a registry, or laid
//! out in a folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::{Compression, write::GzEncoder};
use pipewright_base::Digest;
use pipewright_packages::{Options, Reference, Registry};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// An image as registries have it.
#[derive(Clone)]
pub struct Packed {
    pub manifest: Value,
    pub config: Value,
    /// As they are packed.
    pub layers: Vec<Vec<u8>>,
}

impl Packed {
    /// Of archives.
    pub fn of(archives: &[Vec<u8>]) -> Self {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Env": ["PATH=/usr/bin:/bin", "FROM_IMAGE=yes"], "User": "root", "Entrypoint": ["/none"] },
            "rootfs": { "type": "layers", "diff_ids": archives.iter().map(|it| digest(it)).collect::<Vec<_>>() },
        });
        let layers = archives.iter().map(|it| gzip(it)).collect();
        let mut packed = Self { manifest: Value::Null, config, layers };
        packed.describe();
        packed
    }

    /// The manifest, of what the rest is now.
    pub fn describe(&mut self) {
        let layers: Vec<Value> = self.layers.iter().map(|it| descriptor(LAYER, it)).collect();
        let config = descriptor(CONFIG, &bytes(&self.config));
        self.manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    }

    pub fn digest(&self) -> String {
        digest(&bytes(&self.manifest))
    }

    pub fn push(&self, reference: &str) {
        let reference: Reference = reference.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registry = Registry::new(&reference, &Options::default()).await.unwrap();
            for blob in self.layers.iter().chain([&bytes(&self.config)]) {
                registry.push_blob("a blob", blob.clone()).await.unwrap();
            }
            registry.push_manifest(&reference.selector().unwrap(), MANIFEST, &bytes(&self.manifest)).await.unwrap();
        });
    }

    /// Lays it out in a folder, and gives its name.
    pub fn lay_out(&self, folder: &Path) -> String {
        let blobs: Vec<Vec<u8>> = self.layers.iter().cloned().chain([bytes(&self.config)]).collect();
        lay_out(folder, &self.manifest, &blobs)
    }
}

/// An image layout with one manifest, or one index.
pub fn lay_out(folder: &Path, top: &Value, blobs: &[Vec<u8>]) -> String {
    fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let listed = descriptor(top["mediaType"].as_str().unwrap_or(MANIFEST), &bytes(top));
    fs::write(folder.join("index.json"), bytes(&json!({ "schemaVersion": 2, "manifests": [listed] }))).unwrap();
    for blob in blobs.iter().chain([&bytes(top)]) {
        fs::write(folder.join("blobs/sha256").join(Digest::of(blob).to_string()), blob).unwrap();
    }
    format!("oci:{}", folder.display())
}

pub fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(blob), "size": blob.len() })
}

pub fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", Digest::of(blob))
}

pub fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// The archive of a layer, of these entries as they are, whatever they say: kind, path, and content or target.
pub fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        let is_file = *kind == EntryType::Regular;
        if !is_file {
            header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let content = if is_file { content.as_bytes() } else { &[] };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn file(path: &str, content: &str) -> Vec<u8> {
    archive(&[(EntryType::Regular, path, content)])
}

/// A layer with programs of this machine and the libraries that they need; names as in a Debian system.
pub fn programs(names: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.sparse(false);
    for name in ["bin", "lib", "lib64"] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        builder.append_link(&mut header, name, format!("usr/{name}")).unwrap();
    }
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for name in names {
        let program = Path::new("/usr/bin").join(name);
        let listed = Command::new("ldd").arg(&program).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
        files.extend(libraries.chain([program]).map(|file| {
            let there = file.strip_prefix("/usr").or(file.strip_prefix("/")).unwrap();
            (format!("usr/{}", there.display()), fs::canonicalize(&file).unwrap())
        }));
    }
    files.sort();
    files.dedup();
    for (there, file) in files {
        builder.append_path_with_name(file, there).unwrap();
    }
    builder.into_inner().unwrap()
}
