//! A server behind TLS: the clients of AWS and our own believe it by its authority, and a renewed certificate counts without
//! a restart.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::server::Server;
use crate::tools;

/// Writes a certificate for this machine and its key into a folder; its authority's PEM file is `NAME.pem`.
fn certify(home: &Path, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(home.join(format!("{name}.pem")), authority.pem()).unwrap();
    fs::write(home.join("server.key"), key.serialize_pem()).unwrap();
    fs::write(home.join("server.pem"), certificate.pem()).unwrap();
}

fn list(home: &Path, authority: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    command.arg("pipelines").arg("--data").arg(home.join("data")).env("HOME", home).env_remove("AWS_CA_BUNDLE");
    if let Some(name) = authority {
        command.env("AWS_CA_BUNDLE", home.join(format!("{name}.pem")));
    }
    command.output().unwrap()
}

#[track_caller]
fn is_believed(home: &Path, authority: Option<&str>, expected: bool) {
    let output = list(home, authority);
    assert_eq!(output.status.success(), expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(expected || String::from_utf8_lossy(&output.stderr).contains("certificate"), "{output:?}");
}

#[test]
fn a_renewed_certificate_counts_without_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    certify(home, "first");
    fs::write(home.join("serve.toml"), "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n").unwrap();
    let server = Server::start(home);
    let address = server.endpoint().strip_prefix("https://").expect("an address by https").to_owned();
    // Whoever connects and says nothing keeps nobody waiting.
    let _silent = TcpStream::connect(&address).unwrap();
    is_believed(home, Some("first"), true);
    is_believed(home, None, false);
    if let Some(python) = tools::python("boto3") {
        let script = "import boto3, sys; print(boto3.client('codepipeline', endpoint_url=sys.argv[1], verify=sys.argv[2])\
                      .list_pipelines()['pipelines'])";
        let boto3 = Command::new(python)
            .args(["-c", script, &server.endpoint()])
            .arg(home.join("first.pem"))
            .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&boto3.stdout), "[]\n", "{boto3:?}");
    }
    certify(home, "second");
    is_believed(home, Some("second"), true);
    is_believed(home, Some("first"), false);
    // A pair that cannot be used, such as one that is half written, is passed over.
    fs::write(home.join("server.pem"), "-----BEGIN CERT").unwrap();
    is_believed(home, Some("second"), true);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let check = |certificate: Option<&str>, wrong: &str| {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        certify(home, "authority");
        let key = fs::read(home.join("server.key")).unwrap();
        match certificate {
            // Of another key.
            Some("") => {
                certify(home, "other");
                fs::write(home.join("server.key"), key).unwrap();
            }
            Some(text) => fs::write(home.join("server.pem"), text).unwrap(),
            None => fs::remove_file(home.join("server.pem")).unwrap(),
        }
        fs::write(home.join("serve.toml"), "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(home.join("data"));
        let output = command.arg("--config").arg(home.join("serve.toml")).env("HOME", home).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(wrong), "{told}");
    };
    check(None, "server.pem: not a certificate in PEM form: No such file");
    check(Some("nothing"), "it holds no certificate");
    check(Some(""), "server.key is not the key of");
}
