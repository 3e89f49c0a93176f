//! A real server tells a real receiver of what happens: signed, in order, over refusals, silence and the death of the server.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pipewright_server::notify::SigningSecret;
use serde_json::Value;

use crate::client::{Site, make, wait_until};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Refuses,
    Hangs,
    /// Answers with success, and a body without end.
    Floods,
}

#[derive(Clone)]
struct Heard {
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

/// Whoever is told.
struct Receiver {
    origin: String,
    mood: Arc<Mutex<Mood>>,
    /// Whether somebody waits for an answer that never comes.
    hangs: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (mood, heard) = (Arc::new(Mutex::new(Mood::Takes)), Arc::<Mutex<Vec<Heard>>>::default());
        let hangs = Arc::<AtomicBool>::default();
        let (moods, waits, all) = (Arc::clone(&mood), Arc::clone(&hangs), Arc::clone(&heard));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (moods, waits, all) = (Arc::clone(&moods), Arc::clone(&waits), Arc::clone(&all));
                // The server hanging up, or dying, is what the test is about.
                std::thread::spawn(move || stream.and_then(|stream| answer(stream, &moods, &waits, &all)));
            }
        });
        Self { origin, mood, hangs, heard }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn heard(&self, path: &str) -> Vec<Heard> {
        self.heard.lock().unwrap().iter().filter(|heard| heard.path == path).cloned().collect()
    }
}

fn answer(stream: TcpStream, mood: &Mutex<Mood>, hangs: &AtomicBool, heard: &Mutex<Vec<Heard>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mood, mut stream) = (*mood.lock().unwrap(), stream);
    if mood == Mood::Takes || mood == Mood::Floods {
        heard.lock().unwrap().push(Heard { path, headers, body: String::from_utf8(body).unwrap() });
    }
    match mood {
        Mood::Takes => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Mood::Refuses => stream.write_all(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"),
        Mood::Hangs => {
            hangs.store(true, Ordering::SeqCst);
            reader.read_to_end(&mut Vec::new()).map(drop)
        }
        Mood::Floods => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 65_536])?;
            }
        }
    }
}

/// Each event once, where it was heard first: its number in its pipeline, and its words.
fn once(heard: &[Heard]) -> Vec<((u64, u64), String)> {
    let mut seen = Vec::new();
    for heard in heard {
        let event: Value = serde_json::from_str(&heard.body).unwrap();
        let mut numbers = event["id"].as_str().unwrap().split('.').skip(1).map(|number| number.parse().unwrap());
        let number = (numbers.next().unwrap(), numbers.next().unwrap());
        let words =
            format!("{} {}", event["detail-type"].as_str().unwrap(), event["detail"]["state"].as_str().unwrap());
        if !seen.iter().any(|(there, _)| *there == number) {
            seen.push((number, words));
        }
    }
    seen
}

fn ended(heard: &[Heard]) -> usize {
    let of_execution =
        |(_, words): &&((u64, u64), String)| words == "CodePipeline Pipeline Execution State Change SUCCEEDED";
    once(heard).iter().filter(of_execution).count()
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn events_are_delivered_whatever_the_receiver_does_and_over_the_server_s_death() {
    let (mut site, receiver) = (Site::new(), Receiver::start());
    let url = format!("{}/chat", receiver.origin);
    let added = site.run(&["deliveries", "add", "chat", &url]);
    added.check(0, &["chat is told of what happens from now on", "whsec_"]);
    let secret = added.out.lines().last().unwrap().to_owned();
    site.create("site", &[make()]).check(0, &[]);
    wait_until(|| site.run(&["history", "site"]).out.contains("\tSucceeded\t"));
    // Nobody has allowed an address of this machine.
    wait_until(|| site.run(&["deliveries"]).out.contains("which is not a public address"));
    assert!(receiver.heard("/chat").is_empty());

    site.stop_and_serve(|site| {
        fs::write(site.path("ops.secret"), SECRET).unwrap();
        let more = format!(
            "\n[notifications]\nprivate = [\"{}\"]\n[notifications.targets.ops]\nurl = \"{}/ops\"\nsecret_file = \"ops.secret\"\n",
            receiver.origin, receiver.origin
        );
        let config = fs::read_to_string(site.path("config.toml")).unwrap();
        fs::write(site.path("config.toml"), config + &more).unwrap();
    });
    wait_until(|| ended(&receiver.heard("/chat")) == 1);
    receiver.is(Mood::Floods);
    site.run(&["start", "site", "--follow"]).check(0, &[]);
    wait_until(|| ended(&receiver.heard("/chat")) == 2 && ended(&receiver.heard("/ops")) == 1);

    receiver.is(Mood::Refuses);
    site.run(&["start", "site", "--follow"]).check(0, &[]);
    wait_until(|| site.run(&["deliveries"]).out.contains("it answered with the status 503"));
    receiver.is(Mood::Hangs);
    wait_until(|| receiver.hangs.load(Ordering::SeqCst));
    site.kill_and_serve();
    receiver.is(Mood::Takes);
    wait_until(|| ended(&receiver.heard("/chat")) == 3 && ended(&receiver.heard("/ops")) == 2);

    for (path, secret) in [("/chat", &secret[..]), ("/ops", SECRET)] {
        let heard = receiver.heard(path);
        let order: Vec<_> = once(&heard).into_iter().map(|(number, _)| number).collect();
        assert!(order.is_sorted(), "{path}: {order:?}");
        let secret = SigningSecret::read(secret).unwrap();
        for Heard { headers, body, .. } in &heard {
            let seconds = headers["webhook-timestamp"].parse().unwrap();
            assert_eq!(headers["webhook-signature"], secret.sign(&headers["webhook-id"], seconds, body.as_bytes()));
        }
    }
    let whole = once(&receiver.heard("/chat"));
    assert_eq!(whole.len() % 3, 0, "three executions of the same events: {whole:?}");
    assert_eq!(site.json(&["deliveries", "--failed"])["failed"], serde_json::json!([]));
    let shown = site.json(&["deliveries"]).to_string();
    assert!(!shown.contains("whsec_"), "{shown}");
    site.run(&["deliveries", "retry", "nothing"]).check(2, &["nothing is no id of a delivery"]);
    site.run(&["deliveries", "remove", "ops"]).check(2, &["is the configuration's, and removed there"]);
    site.run(&["deliveries", "remove", "chat"]).check(0, &["chat is told nothing any more"]);
    assert_eq!(site.json(&["deliveries"])["targets"].as_array().unwrap().len(), 1);
}
