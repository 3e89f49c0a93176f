//! Requests that are kept, given again without a server, and made up.

use std::collections::HashSet;
use std::sync::Arc;

use ::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::world::{Calling, SECRET, body};
use super::*;
use crate::capabilities::secrets::Operation;
use crate::outside::{Difference, Fakes, Recorded, Recorder, Replay, Room};

/// A request of a guest: method, URL, header, body.
type Wanted = (&'static str, &'static str, (&'static str, &'static str), Sent);

const PLAIN: (&str, &str) = ("x-none", "none");

const REQUESTS: &[Wanted] = &[
    ("GET", "http://allowed.test:{http}/hello", PLAIN, Sent::Nothing),
    ("GET", "http://allowed.test:{http}/headers", ("authorization", "Bearer {token}"), Sent::Nothing),
    ("GET", "http://allowed.test:{http}/headers", ("authorization", "{basic}"), Sent::Nothing),
    ("POST", "http://allowed.test:{http}/late", ("transfer-encoding", "chunked"), Sent::Frames(3)),
    ("GET", "http://denied.test:{http}/hello", PLAIN, Sent::Nothing),
    ("GET", "http://missing.test:{http}/hello", PLAIN, Sent::Nothing),
    ("GET", "http://allowed.test:2/hello", PLAIN, Sent::Nothing),
    ("GET", "http://allowed.test:{http}/cut", PLAIN, Sent::Nothing),
    ("GET", "http://allowed.test:{http}/gzip", ("authorization", "Bearer {token}"), Sent::Nothing),
];

/// What a guest gets, and what the journal says of it.
async fn make(calling: &mut Calling, world: &World, requests: &[Wanted]) -> Vec<String> {
    let token = calling.secrets.told(Operation::StandIn, "token", None).ok().unwrap();
    let basic = calling.secrets.told(Operation::Basic, "token", Some("me".to_owned())).ok().unwrap();
    let filled = |text: &str| world.url(&text.replace("{token}", &token).replace("{basic}", &basic));
    let mut told = Vec::new();
    for (method, url, (name, value), sent) in requests {
        let request = Request::builder().method(*method).uri(filled(url)).header(*name, filled(value));
        let sending =
            calling.http.hooks.send_request(request.body(body(*sent)).unwrap(), None, Box::new(async { Ok(()) }));
        // Where it differs, nothing is answered any more.
        let answered = async {
            let (response, _) = Box::into_pin(sending).await?;
            let (head, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
            let length = head.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
            let whole = length.is_none_or(|length: usize| length == body.len());
            Ok::<_, Error>(format!("{}, whole: {whole}", head.status))
        };
        let stop = calling.seam.differed();
        told.push(tokio::select! {
            answered = answered => format!("{answered:?}"),
            () = stop => "ended".to_owned(),
        });
    }
    told
}

async fn record(world: &World, bytes_max: u64) -> (Vec<String>, Vec<String>, Recorded) {
    let mut calling =
        world.call(|_| (), Outside::Recorded(Recorder::new(bytes_max, &Room::new(1 << 20), HashSet::new())));
    let told = make(&mut calling, world, REQUESTS).await;
    let journal = calling.outcomes().iter().map(|outcome| format!("{outcome:?}")).collect();
    let recorded = calling.seam.recorded().unwrap();
    (told, journal, recorded)
}

#[tokio::test]
async fn what_was_kept_is_given_again() {
    let world = World::start().await;
    let (told, journal, recorded) = record(&world, 1 << 20).await;
    assert_eq!(recorded.steps.len(), REQUESTS.len() + 2, "two stand-ins, too");
    let text = serde_json::to_string(&recorded).unwrap();
    let recorded = Recorded { blobs: recorded.blobs, ..serde_json::from_str(&text).unwrap() };

    let lookups = world.lookups.lock().unwrap().clone();
    let connections = world.connections();
    let mut again = world.call(|_| (), Outside::Replayed(Replay::new(recorded)));
    let told_again = make(&mut again, &world, REQUESTS).await;
    // The body that had a secret within its compression is left out, and ends the call when it is asked for.
    let last = REQUESTS.len() - 1;
    assert_eq!(told_again[..last], told[..last]);
    assert_eq!(told_again[last], "ended");
    let journal_again: Vec<_> = again.outcomes().iter().map(|outcome| format!("{outcome:?}")).collect();
    assert_eq!(journal_again[..last + 2], journal[..last + 2]);
    assert_eq!(again.seam.difference(None).map(|difference| difference.number), Some(REQUESTS.len() + 2));
    assert_eq!(*world.lookups.lock().unwrap(), lookups, "nothing is looked up");
    assert_eq!(world.connections(), connections, "nothing is connected to");
}

/// The servers above answer with what they were sent: the header with the secret.
#[tokio::test]
async fn no_secret_is_kept() {
    let world = World::start().await;
    let (told, _, recorded) = record(&world, 1 << 20).await;
    assert!(told[1].contains("200 OK"), "{told:?}");
    let mut kept = serde_json::to_string(&recorded).unwrap();
    kept.extend(recorded.blobs.values().map(|blob| String::from_utf8_lossy(blob).into_owned()));
    for hidden in [SECRET, "czNjcmV0L3ZhbHVlKzEyMzQ", "s3cret"] {
        assert!(!kept.contains(hidden), "{kept}");
    }
    let said = recorded.left_out.join("\n");
    for told in ["a secret's value in the body of the answer to GET ", "/gzip: it has a secret's value, compressed"] {
        assert!(said.contains(told), "{said}");
    }
}

#[tokio::test]
async fn a_call_ends_where_it_differs() {
    let world = World::start().await;
    let (_, _, recorded) = record(&world, 1 << 20).await;
    let changed = |at: usize, request: Wanted| {
        let mut requests = REQUESTS[..=at].to_vec();
        requests[at] = request;
        requests
    };
    let (first, second) = (REQUESTS[0], REQUESTS[3]);
    let cases: &[(Vec<Wanted>, usize, &str, &str)] = &[
        (changed(0, ("GET", "http://allowed.test:{http}/other", PLAIN, Sent::Nothing)), 3, "/hello", "/other"),
        (changed(0, ("PUT", first.1, PLAIN, Sent::Nothing)), 3, "GET ", "PUT "),
        (changed(0, (first.0, first.1, ("x-none", "some"), Sent::Nothing)), 3, "x-none: none", "x-none: some"),
        (changed(3, (second.0, second.1, second.2, Sent::Frames(2))), 6, "************", "********"),
        (REQUESTS[..2].to_vec(), 5, "GET ", "no further host call"),
    ];
    for (requests, number, expected, made) in cases {
        let mut calling = world.call(|_| (), Outside::Replayed(Replay::new(recorded.clone())));
        make(&mut calling, &world, requests).await;
        let Some(found) = calling.seam.difference(None) else { panic!("{made}: nothing differs") };
        let Difference { number: at, expected: kept, made: was } = &found;
        assert!(at == number && kept.contains(expected) && was.contains(made), "{found}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let world = World::start().await;
    let (_, _, recorded) = record(&world, 900).await;
    assert!(recorded.steps_left_out > 0 && recorded.steps.len() < REQUESTS.len(), "{recorded:?}");
    assert!(recorded.left_out.iter().any(|what| what.contains("recording_bytes_max")), "{:?}", recorded.left_out);
    let mut calling = world.call(|_| (), Outside::Replayed(Replay::new(recorded)));
    make(&mut calling, &world, REQUESTS).await;
    let found = calling.seam.difference(None).unwrap();
    assert!(found.expected.contains("the recording ends here"), "{found}");
}

#[tokio::test]
async fn answers_can_be_made_up() {
    let world = World::start().await;
    let fake = |method: &str, url: &str, answer| Fake {
        method: method.to_owned(),
        url: world.url(url),
        headers: vec![("authorization".to_owned(), format!("Bearer {SECRET}"))],
        body: FakeBody::Any,
        answer,
    };
    let created = FakeAnswer::Response { status: 201, headers: Vec::new(), body: "made".into() };
    let refused = FakeAnswer::error("connection-refused").unwrap();
    let jobs = "http://allowed.test:{http}/jobs";
    let header = ("authorization", "Bearer {token}");
    let requests: &[Wanted] = &[
        ("POST", jobs, header, Sent::Frames(1)),
        ("GET", "http://denied.test/", header, Sent::Nothing),
        ("GET", jobs, header, Sent::Nothing),
        ("GET", jobs, header, Sent::Nothing),
    ];
    let fakes = Fakes::new(Some(vec![fake("POST", jobs, created), fake("GET", jobs, refused)]), Vec::new());
    let mut calling = world.call(|_| (), Outside::Faked(Arc::clone(&fakes)));
    let told = make(&mut calling, &world, requests).await;
    assert_eq!(told, ["Ok(\"201 Created, whole: true\")", "Err(HttpRequestDenied)", "Err(ConnectionRefused)", "ended"]);
    assert_eq!(fakes.left(), Vec::<String>::new());
    let found = calling.seam.difference(None).unwrap();
    assert!(found.expected == "no further request" && found.made.contains("/jobs"), "{found}");
    assert!(!found.to_string().contains(SECRET), "{found}");
    assert_eq!(world.connections(), 0, "nothing is connected to");
}

/// A body as a server compresses it.
pub(super) fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
