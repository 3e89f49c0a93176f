//! What a registry wants before it answers: the challenges in `WWW-Authenticate` (RFC 9110, §11.6.1).
//!
//! Owns their grammar, as registries write it: values without quotation marks and several challenges in one header, too. Must not
//! know how one is met.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, PartialEq)]
pub(super) enum Challenge {
    Basic,
    /// The token authentication of docker's registry. The scope is not read: some registries name a made-up repository in it.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The one that is to be met, of all that an answer has: a token goes before a password. None where we can meet none.
    pub fn of<'h>(headers: impl IntoIterator<Item = &'h str>) -> Option<Self> {
        let all = headers.into_iter().flat_map(read);
        let mut ours: Vec<Self> = all.filter_map(|(scheme, parameters)| Self::known(&scheme, parameters)).collect();
        ours.sort_by_key(|challenge| *challenge == Self::Basic);
        ours.into_iter().next()
    }

    fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Self> {
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let value = |wanted: &str| {
            let mut named = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.next().map(|(_, value)| value.clone())
        };
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| Some(Self::Bearer { realm: value("realm")?, service: value("service") })).flatten()
    }
}

/// Every challenge of a header, with its parameters. What is cut off in the middle is left out.
fn read(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace() || matches!(c, ',' | '=')).is_some() {}
        let name = word(&mut rest, &[',', '=']);
        if name.is_empty() {
            return challenges;
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        match challenges.last_mut() {
            Some((_, parameters)) if rest.next_if_eq(&'=').is_some() => {
                let Some(value) = value(&mut rest) else { return challenges };
                parameters.push((name, value));
            }
            _ => challenges.push((name, Vec::new())),
        }
    }
}

fn word(rest: &mut Peekable<Chars>, ends: &[char]) -> String {
    std::iter::from_fn(|| rest.next_if(|c| !c.is_whitespace() && !ends.contains(c))).collect()
}

fn value(rest: &mut Peekable<Chars>) -> Option<String> {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    if rest.next_if_eq(&'"').is_none() {
        return Some(word(rest, &[',']));
    }
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(value),
            '\\' => value.push(rest.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        let check = |headers: &[&str], expected: Option<Challenge>| {
            assert_eq!(Challenge::of(headers.iter().copied()), expected, "{headers:?}");
        };
        check(&["Basic realm=\"x\""], Some(Challenge::Basic));
        check(&["basic"], Some(Challenge::Basic));
        for header in [
            "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:x/y:pull,push\"",
            "bearer service=\"a\", realm=\"https://a/token\"",
            "Bearer realm=https://a/token,service=a",
            "BEARER Realm = \"https://a/token\" , Service = \"a\"",
            "Basic realm=\"x, y=z\", Bearer realm=\"https://a/token\",service=\"a\"",
            "Bearer realm=\"https://a/token\",service=\"a\", Basic realm=\"x\"",
            "Negotiate, Bearer realm=\"https://a/token\", service=\"a\"",
            "Negotiate YIIabc==, Bearer realm=\"https://a/token\", service=\"a\"",
            "Bearer realm=\"https:\\/\\/a/token\",service=\"a\",error=\"insufficient_scope\"",
        ] {
            check(&[header], bearer("https://a/token", Some("a")));
        }
        check(&["Negotiate", "Basic realm=\"x\"", "Bearer realm=\"https://a\""], bearer("https://a", None));
        check(&["Bearer service=\"b\""], None);
        check(&["Bearer realm=\"b"], None);
        check(&["Negotiate"], None);
        check(&["", "=", ",,", "\""], None);
    }
}
