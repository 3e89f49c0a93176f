//! Several teams on one server: what one offers to another appears and runs there, and what it does not offer can be neither seen
//! nor bound nor run. The story is `tests/accounts/main.py`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::packages::offering;
use crate::tools;

/// The teams' accounts, and a pipeline of the same name in each with files of its own.
const CONFIG: &str = r#"
poll_seconds = 86400

[accounts.111111111111.grants]
release = "111111111111.toml"

[accounts.222222222222.grants]
release = "222222222222.toml"

[accounts.333333333333.grants]
"#;

#[test]
fn teams_share_what_they_offer_and_nothing_else() {
    let Some(python) = tools::python("boto3") else { return };
    let home = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("serve.toml", CONFIG.as_bytes());
    for account in ["111111111111", "222222222222"] {
        let grants =
            format!("[action.\"Source/Get\"]\ndirectories.source = {{ path = \"{account}\", access = \"read\" }}\n");
        write(&format!("{account}.toml"), grants.as_bytes());
        write(&format!("{account}/page.md"), format!("# Of {account}\n").as_bytes());
    }
    write("data/plugins/policy.toml", b"unsigned_files = [\"one/*\", \"other/*\"]\n");
    for (name, version, asks) in [
        ("one/packaged", "1.0.0", &[][..]),
        ("one/packaged", "1.1.0", &["http api.example.com"]),
        ("other/packaged", "1.0.0", &[]),
    ] {
        let file = format!("{}-{version}.wasm", name.replace('/', "-"));
        write(&file, &offering("Packaged", name, version, "1", asks));
    }
    write("one-typed-1.0.0.wasm", &offering("ThirdParty/Typed", "one/typed", "1.0.0", "1", &[]));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/accounts/main.py");
    let output = Command::new(python)
        .arg("-B")
        .args([&script, Path::new(env!("CARGO_BIN_EXE_pipewright")), home.path()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
