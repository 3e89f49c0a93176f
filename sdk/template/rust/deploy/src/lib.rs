//! `{{type}}`.

use pipewright_sdk::prelude::*;

use serde::{Deserialize, Serialize};

/// No answer of a well-behaved service is larger.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[derive(Settings)]
struct Where {
    /// Where releases are posted to.
    url: String,
    /// The name of the secret that the service knows us by.
    #[setting(default = "token")]
    token: String,
}

#[derive(Variables)]
struct Told {
    /// The id that the service gave to the release.
    release_id: String,
}

#[derive(Serialize)]
struct Release<'a> {
    files: usize,
    /// The same for every attempt at this action: the service can tell a repetition from another release.
    key: &'a str,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Tells a service over HTTP of a release.
#[action(provider = "{{provider}}", inputs = 1)]
fn deploy(action: &Action, settings: Where) -> Result<Deployed<Told>> {
    let files = files::list(action.input()?, &[])?.len();
    // A stand-in for the secret: the host puts the value in its place, only in requests to hosts for which it was granted.
    let token = secrets::stand_in(&settings.token)?;
    let release = Release { files, key: action.idempotency_key() };
    let response = http::post(&settings.url).header("authorization", format!("Bearer {token}")).json(&release)?.send()?;
    let accepted: Accepted = response.succeeded()?.json(ANSWER_BYTES_MAX)?;
    info!("the service calls it {}", accepted.id);

    let target = Target {
        id: accepted.id.clone(),
        kind: "Release".to_owned(),
        status: TargetStatus::Succeeded,
        url: Some(settings.url),
    };
    let report = Report::new(format!("deployed {files} files")).external_id(&accepted.id);
    Ok(Deployed { report: report.variables(Told { release_id: accepted.id }), targets: vec![target] })
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    asks: [
        ask(Capability::Http("*".into()), "the service that the setting `Url` names"),
        ask(Capability::Secret("Token".into()), "how the service knows us"),
    ],
    deploy: [deploy],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::{Answer, Host};

    #[test]
    fn the_service_is_told() {
        let host = Host::new()
            .input("Site", &[("index.html", "<h1>Home</h1>")])
            .secret("token", "not-a-real-token")
            .answer("POST https://example.com/releases", Answer::new(201).body(r#"{"id":"r-7"}"#));
        let settings = Where { url: "https://example.com/releases".to_owned(), token: "token".to_owned() };
        let deployed = deploy(&host.action(), settings).expect("it is deployed");
        assert_eq!(deployed.report.variables.release_id, "r-7");
        let request = &host.requests()[0];
        assert_eq!(request.header("authorization"), Some("Bearer not-a-real-token"));
        assert_eq!(request.body, br#"{"files":1,"key":"case"}"#);
    }
}
