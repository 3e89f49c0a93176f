//! The query protocol of AWS, which STS alone speaks here: a form that names its operation and version, answered in XML.
//!
//! Owns how a request names its operation, and how an output and an error are written. Must not know any operation.

use axum::body::Bytes;
use serde_json::Value;

use super::error::ApiError;
use super::operations::{Dialect, STS};
use super::xml;

/// The content type of a request.
pub const FORM: &str = "application/x-www-form-urlencoded";
pub const TYPE: &str = "text/xml";
const VERSION: &str = "2011-06-15";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The service that is asked and the operation's name, without a check that there is such an operation.
pub fn operation(body: &[u8]) -> Result<(&'static Dialect, &str), ApiError> {
    let form = std::str::from_utf8(body).unwrap_or_default();
    // Neither has characters that a form encodes.
    let value = |key: &str| form.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let (action, version) = (value("Action").unwrap_or_default(), value("Version").unwrap_or_default());
    match version {
        VERSION => Ok((&STS, action)),
        _ => Err(ApiError::unknown_operation(&format!("{action} of version {version}"))),
    }
}

/// Of an output whose members are texts.
pub fn output(operation: &str, request_id: &str, output: &Value) -> Bytes {
    let members = output.as_object().into_iter().flatten();
    let members: Vec<_> = members.map(|(name, text)| (name.as_str(), text.as_str().unwrap_or_default())).collect();
    let (result, id) = (xml::members(&members), xml::members(&[("RequestId", request_id)]));
    let result = format!("<{operation}Result>{result}</{operation}Result><ResponseMetadata>{id}</ResponseMetadata>");
    document(&format!("{operation}Response"), &result)
}

pub fn error(request_id: &str, error: &ApiError) -> Bytes {
    let whose = if error.status.is_server_error() { "Receiver" } else { "Sender" };
    let told = xml::members(&[("Type", whose), ("Code", error.code), ("Message", &error.message)]);
    let id = xml::members(&[("RequestId", request_id)]);
    document("ErrorResponse", &format!("<Error>{told}</Error>{id}"))
}

fn document(name: &str, content: &str) -> Bytes {
    format!("<{name} xmlns=\"{NAMESPACE}\">{content}</{name}>").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_names_its_operation_in_one_version() {
        let check = |form: &str, expected: Result<&str, &str>| {
            let named = operation(form.as_bytes()).map(|(of, name)| (of.name, name));
            let expected = expected.map(|name| ("sts", name));
            assert_eq!(named.map_err(|error| error.message), expected.map_err(str::to_owned), "{form}");
        };
        check("Action=GetCallerIdentity&Version=2011-06-15", Ok("GetCallerIdentity"));
        check("Version=2011-06-15&x=Action&Action=AssumeRole", Ok("AssumeRole"));
        check("Version=2011-06-15", Ok(""));
        check("Action=A&Version=1", Err("This host does not offer the operation \"A of version 1\""));
        check("\u{1b}", Err("This host does not offer the operation \" of version \""));
    }

    #[test]
    fn an_answer_is_xml_that_names_its_request() {
        let answer = output("GetCallerIdentity", "r-1", &json!({ "Account": "000000000000", "Arn": "a<b" }));
        let expected = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                        <GetCallerIdentityResult><Account>000000000000</Account><Arn>a&lt;b</Arn></GetCallerIdentityResult>\
                        <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>";
        assert_eq!(answer, expected);
        let expected = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                        <Code>InvalidAction</Code><Message>no</Message></Error><RequestId>r-1</RequestId></ErrorResponse>";
        assert_eq!(error("r-1", &ApiError::new("InvalidAction", "no")), expected);
    }
}
