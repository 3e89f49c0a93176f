//! How a registry is spoken to: what lets us in, where its redirects lead, and what its refusals mean.
//!
//! Owns the one place in which a login or a token is put into a request, by the address that it goes to. Must not know what is
//! asked for.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use docker_credential::DockerCredential;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE};
use pipewright_text::{cut_chars, printable};
use reqwest::{Request, Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::login::is_protected;
use super::{ANSWER_BYTES_MAX, Access, Registry};
use crate::PackageError;

const REDIRECTS_MAX: usize = 5;
/// What of a registry's own complaint is told.
const COMPLAINT_CHARS_MAX: usize = 300;

/// The value of the `Authorization` header that the registry asked for.
#[derive(Clone)]
pub(super) struct Pass {
    header: HeaderValue,
    access: Access,
    is_login: bool,
}

impl Registry {
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        what: &str,
        exchange: impl Future<Output = Result<T, PackageError>>,
    ) -> Result<T, PackageError> {
        let late = |_| self.broken(format!("{what}: the answer is not complete after {} s", time.as_secs_f32()));
        tokio::time::timeout(time, exchange).await.map_err(late)?
    }

    /// Sends a request; once more, with what the registry asks for, if it does not let us in.
    pub(super) async fn send(&self, request: &Request, access: Access) -> Result<Response, PackageError> {
        let answer = self.follow(request, access).await?;
        let entered = match answer.status().as_u16() {
            401 => self.enter(&answer, access).await?,
            // From strangers some hide what those who log in can see: they are asked at their door.
            403 | 404 if self.login.is_some() && self.pass(access).is_none() => {
                let door = Request::new(Method::GET, self.trusted.base.clone());
                self.enter(&self.follow(&door, access).await?, access).await?
            }
            _ => false,
        };
        if entered { self.follow(request, access).await } else { Ok(answer) }
    }

    /// Sends a request and goes where the answer leads. Only the registry itself sees what lets us in.
    async fn follow(&self, request: &Request, access: Access) -> Result<Response, PackageError> {
        let mut request = copy(request);
        for _ in 0..=REDIRECTS_MAX {
            let mut sent = copy(&request);
            if self.trusted.is_own(sent.url())
                && let Some(pass) = self.pass(access)
            {
                sent.headers_mut().insert(AUTHORIZATION, pass.header);
            }
            let answer = self.http.execute(sent).await.map_err(|error| self.unreachable(&error))?;
            let status = answer.status().as_u16();
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let (301..=303 | 307 | 308, Some(location)) = (status, location) else { return Ok(answer) };
            let next = request.url().join(location).map_err(|error| self.broken(format!("{location:?}: {error}")))?;
            let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
            if !is_reading && (status < 307 || !self.trusted.is_own(&next)) || !self.trusted.may_reach(&next) {
                let next = next.origin().ascii_serialization();
                return Err(self.broken(format!("it sends us on to {next}, where we do not go")));
            }
            *request.url_mut() = next;
        }
        Err(self.broken(format!("it redirects more than {REDIRECTS_MAX} times")))
    }

    /// Gets what an answer asks for; says whether there is something new to come with. One of another server, to which a redirect
    /// led, asks for nothing.
    async fn enter(&self, answer: &Response, access: Access) -> Result<bool, PackageError> {
        if answer.status().as_u16() != 401 || !self.trusted.is_own(answer.url()) {
            return Ok(false);
        }
        let headers: Vec<&str> =
            answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let pass = match Challenge::of(headers.iter().copied()) {
            Some(Challenge::Basic) => Pass { header: self.basic()?, access: Access::Write, is_login: true },
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref(), access).await?,
            None => {
                let mut asked = headers.join(", ");
                cut_chars(&mut asked, COMPLAINT_CHARS_MAX);
                return Err(self.broken(format!("it wants {asked:?}, and neither Basic nor Bearer with a realm")));
            }
        };
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = Some(pass);
        Ok(true)
    }

    fn pass(&self, access: Access) -> Option<Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|pass| pass.access >= access)
    }

    fn basic(&self) -> Result<HeaderValue, PackageError> {
        if !is_protected(&self.trusted.base) {
            self.hold_back("a login is not sent over http");
            return Err(self.locked_out("it wants a user and a password"));
        }
        match &self.login {
            Some(DockerCredential::UsernamePassword(user, password)) => self.user(user, password),
            Some(DockerCredential::IdentityToken(_)) => {
                Err(self.locked_out("it wants a user and a password, and there is an identity token"))
            }
            None => Err(self.locked_out("it wants a user and a password")),
        }
    }

    fn user(&self, user: &str, password: &str) -> Result<HeaderValue, PackageError> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.secret_header(&format!("Basic {encoded}"))
    }

    /// The token authentication of docker's registry: <https://distribution.github.io/distribution/spec/auth/token/>. Without a
    /// login, the token of whoever is let in.
    async fn token(&self, realm: &str, service: Option<&str>, access: Access) -> Result<Pass, PackageError> {
        /// By one name, by the other, or by both.
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let what = "its token";
        let realm = Url::parse(realm).map_err(|error| self.broken(format!("its realm {realm:?}: {error}")))?;
        if !self.trusted.may_reach(&realm) {
            return Err(self.broken(format!("it sends us to {realm} for a token, which is not https")));
        }
        let login = self.login.as_ref().filter(|_| self.trusted.may_know(&realm));
        if self.login.is_some() && login.is_none() {
            let server = realm.origin().ascii_serialization();
            self.hold_back(&match is_protected(&realm) {
                true => format!("{server}, to which it sends us for a token, is of another site: --token-server {server} shows it the login"),
                false => "a login is not sent over http".to_owned(),
            });
        }
        let answer = self.http.execute(self.token_request(realm, service, access, login)?).await;
        let answer = self.succeeded(answer.map_err(|error| self.unreachable(&error))?, what).await?;
        let body = self.body(answer, what, ANSWER_BYTES_MAX).await?;
        let Token { token, access_token } =
            serde_json::from_slice(&body).map_err(|error| self.broken(format!("{what}: {error}")))?;
        let token = [token, access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.broken(format!("{what}: there is none in the answer")))?;
        Ok(Pass { header: self.secret_header(&format!("Bearer {token}"))?, access, is_login: login.is_some() })
    }

    fn token_request(
        &self,
        realm: Url,
        service: Option<&str>,
        access: Access,
        login: Option<&DockerCredential>,
    ) -> Result<Request, PackageError> {
        let actions = if access == Access::Write { "pull,push" } else { "pull" };
        let mut asked = realm.clone();
        asked.query_pairs_mut().append_pair("scope", &format!("repository:{}:{actions}", self.repository));
        if let Some(service) = service {
            asked.query_pairs_mut().append_pair("service", service);
        }
        let Some(login) = login else { return Ok(Request::new(Method::GET, asked)) };
        match login {
            DockerCredential::UsernamePassword(user, password) => {
                let mut request = Request::new(Method::GET, asked);
                request.headers_mut().insert(AUTHORIZATION, self.user(user, password)?);
                Ok(request)
            }
            DockerCredential::IdentityToken(token) => {
                let fields = [("grant_type", "refresh_token"), ("client_id", "pipewright"), ("refresh_token", token)];
                asked.query_pairs_mut().extend_pairs(fields);
                let mut request = Request::new(Method::POST, realm);
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, form);
                *request.body_mut() = Some(asked.query().unwrap_or_default().to_owned().into());
                Ok(request)
            }
        }
    }

    fn secret_header(&self, value: &str) -> Result<HeaderValue, PackageError> {
        let mut value =
            HeaderValue::from_str(value).map_err(|_| self.locked_out("the credentials are no header's text"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub(super) async fn succeeded(&self, answer: Response, what: &str) -> Result<Response, PackageError> {
        let status = answer.status();
        match status.as_u16() {
            _ if status.is_success() => Ok(answer),
            401 | 403 => {
                let is_login = self.pass(Access::Read).is_some_and(|pass| pass.is_login);
                let reason = if is_login { "it refuses the login" } else { "it wants a login" };
                let complaint = self.complaint(answer, what).await;
                let complaint = if complaint.is_empty() { complaint } else { format!(" ({complaint})") };
                Err(self.locked_out(&format!("{reason} for {what}{complaint}")))
            }
            404 => Err(PackageError::Missing(format!("{what} at {}", self.registry))),
            code => {
                let complaint = self.complaint(answer, what).await;
                Err(self.broken(format!("{what}: it answers with status {code}: {complaint}")))
            }
        }
    }

    /// In one line, what a registry says of a refusal: by the specification's errors, or as it comes.
    async fn complaint(&self, answer: Response, what: &str) -> String {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<Complaint>,
        }
        #[derive(Deserialize)]
        struct Complaint {
            #[serde(default)]
            message: String,
        }
        let body = self.body(answer, what, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let text = match serde_json::from_slice::<Errors>(&body) {
            Ok(Errors { errors }) => errors.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; "),
            Err(_) => String::from_utf8_lossy(&body).into_owned(),
        };
        let mut line = printable(&text).into_owned();
        cut_chars(&mut line, COMPLAINT_CHARS_MAX);
        line.trim().to_owned()
    }

    pub(super) async fn body(&self, answer: Response, what: &str, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
        let too_long = || self.broken(format!("{what}: the answer is longer than {bytes_max} bytes"));
        self.up_to(answer, bytes_max).await?.ok_or_else(too_long)
    }

    /// None where it is longer.
    pub(super) async fn up_to(&self, mut answer: Response, bytes_max: u64) -> Result<Option<Vec<u8>>, PackageError> {
        if answer.content_length().is_some_and(|length| length > bytes_max) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if (bytes.len() + chunk.len()) as u64 > bytes_max {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    pub(super) fn broken(&self, reason: impl Into<String>) -> PackageError {
        PackageError::Registry { registry: self.registry.clone(), reason: reason.into() }
    }

    fn hold_back(&self, reason: &str) {
        *self.held_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    fn locked_out(&self, reason: &str) -> PackageError {
        let held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = held_back.map_or_else(|| reason.to_owned(), |held_back| format!("{reason}; {held_back}"));
        PackageError::Credentials { registry: self.registry.clone(), reason }
    }

    /// The innermost cause says what happened, the outermost only that a request failed.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> PackageError {
        if error.is_timeout() {
            let idle = self.limits.idle.as_secs_f32();
            return self.broken(format!("it does not answer: nothing came for {idle} s"));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        self.broken(format!("it does not answer as a registry does: {cause}"))
    }
}

/// Bodies are in memory: each request can be sent again.
fn copy(request: &Request) -> Request {
    request.try_clone().expect("no body is a stream")
}

/// The address of the next page in a `Link` header (RFC 8288).
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let (address, relation) = headers.get(LINK)?.to_str().ok()?.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = relation.split(';').any(|it| it.replace([' ', '"'], "").eq_ignore_ascii_case("rel=next"));
    is_next.then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let check = |link: &'static str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]);
            assert_eq!(next_page(&headers).as_deref(), expected, "{link}");
        };
        check("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("/v2/a/tags/list?n=2&last=b"));
        check("</v2/a>;rel=next", Some("/v2/a"));
        check("</v2/a>; rel=\"prev\"", None);
    }
}
