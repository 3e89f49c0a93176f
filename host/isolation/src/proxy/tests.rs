use super::*;

fn check(head: &str, expected: Option<(&str, Option<&str>)>) {
    let read = Request::read(head.as_bytes()).ok();
    let shown = read
        .map(|it| (it.origin.to_string(), it.passed_on.map(|(head, body)| (String::from_utf8(head).unwrap(), body))));
    let expected = expected.map(|(origin, head)| {
        let body = if head.is_some_and(|head| head.contains("Transfer-Encoding")) {
            Body::Chunked
        } else {
            Body::Length(if head.is_some_and(|head| head.contains("Content-Length")) { 3 } else { 0 })
        };
        (origin.to_owned(), head.map(|head| (head.to_owned(), body)))
    });
    assert_eq!(shown, expected, "{head:?}");
}

#[test]
fn requests_are_read() {
    check("CONNECT Example.ORG.:443 HTTP/1.1\r\nHost: x\r\n\r\n", Some(("example.org:443", None)));
    check("CONNECT [::1]:8443 HTTP/1.1\r\n\r\n", Some(("[::1]:8443", None)));
    let passed_on = "GET /a?b HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\nAccept: */*\r\nX: ä\r\n\r\n";
    let asked = "GET http://a.b/a?b HTTP/1.1\r\nHost: A.b:80\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
                 Accept:\t*/* \r\nX:ä\r\n\r\n";
    check(asked, Some(("a.b:80", Some(passed_on))));
    let passed_on = "GET /?q HTTP/1.0\r\nHost: a:81\r\nConnection: close\r\n\r\n";
    check("GET HTTP://a:81?q HTTP/1.0\r\n\r\n", Some(("a:81", Some(passed_on))));
    for body in ["Content-Length: 3", "Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED"] {
        let passed_on = format!("PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{body}\r\n\r\n");
        check(&format!("PUT http://a/ HTTP/1.1\r\n{body}\r\n\r\n"), Some(("a:80", Some(&passed_on))));
    }
    for none in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\n\r\n",
        "CONNECT a HTTP/1.1\r\n\r\n",
        "CONNECT a:b HTTP/1.1\r\n\r\n",
        "CONNECT u@a:1 HTTP/1.1\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\n\r\n",
        "GET http:///x HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/2\r\n\r\n",
        "GET http://a/ b HTTP/1.1\r\n\r\n",
        "GET http://a/\nX: HTTP/1.1\r\n\r\n",
        "G(T http://a/ HTTP/1.1\r\n\r\n",
        "",
    ] {
        check(none, None);
    }
}

#[test]
fn headers_that_can_be_read_in_two_ways_are_refused() {
    for header in [
        "Host: b",
        "Host: a\r\nHost: a",
        "Host: a, b",
        "Host: u@a",
        "Host : a",
        "Host\t: a",
        " Host: a",
        "Accept: a\r\n b",
        "Accept: a\nHost: b",
        "Accept: a\rHost: b",
        "Accept: a\0",
        ": a",
        "a",
        "Ho(st: a",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length:",
        "Content-Length: 0x3",
        "Content-Length: 99999999999999999999",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: identity",
    ] {
        check(&format!("PUT http://a/ HTTP/1.1\r\n{header}\r\n\r\n"), None);
    }
    check("PUT http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", None);
}

/// What a client sends to a proxy, and reads; and what came to the server behind it, which answers with `answer`.
async fn through(limits: ProxyLimits, sent: &str, answer: impl AsyncFnOnce(&mut TcpStream) + Send) -> Through {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (origin, at) = (server.local_addr().unwrap(), listener.local_addr().unwrap());
    let connect: Connect =
        Box::new(move |_| Box::pin(async move { TcpStream::connect(origin).await.map_err(|error| error.to_string()) }));
    let granted = vec![Origin { host: "a".to_owned(), port: 80 }];
    let proxy = Arc::new(Proxy::new(granted, connect, Box::new(|_| String::new()), limits));
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(sent.as_bytes()).await.unwrap();
    let talk = async {
        let (mut there, _) = server.accept().await.unwrap();
        let mut came = vec![0; 4_096];
        let mut length = 0;
        // Until a second has brought nothing more.
        while let Ok(Ok(more @ 1..)) = timeout(Duration::from_secs(1), there.read(&mut came[length..])).await {
            length += more;
        }
        answer(&mut there).await;
        came.truncate(length);
        String::from_utf8(came).unwrap()
    };
    let hear = async {
        let mut heard = Vec::new();
        let ended = client.read_to_end(&mut heard).await.map(drop).map_err(|error| error.kind());
        (String::from_utf8(heard).unwrap(), ended)
    };
    tokio::select! {
        () = proxy.serve(listener) => unreachable!("a proxy that ends"),
        (came, (heard, ended)) = async { tokio::join!(talk, hear) } => Through { came, heard, ended },
    }
}

struct Through {
    came: String,
    heard: String,
    ended: Result<(), io::ErrorKind>,
}

#[tokio::test]
async fn one_request_passes_and_nothing_behind_it() {
    let second = "GET / HTTP/1.1\r\nHost: other\r\n\r\n";
    for (header, body, passed) in [
        ("", "", ""),
        ("Content-Length: 3\r\n", "abc", "abc"),
        ("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        // What is no chunk ends the connection.
        ("Transfer-Encoding: chunked\r\n", "1;a=b\r\na\r\n0\r\n\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "1\na\r\n0\r\n\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n", "1\r\na"),
        ("Transfer-Encoding: chunked\r\n", "0\r\nHost: b\r\n\r\n", "0\r\n"),
    ] {
        let sent = format!("PUT http://a/ HTTP/1.1\r\n{header}\r\n{body}{second}");
        let whole = body == passed;
        let through = through(ProxyLimits::default(), &sent, async |server| {
            let _ = server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        });
        let Through { came, heard, ended } = through.await;
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n");
        // A part of what is cut off may be lost.
        assert!(if whole { came == head.clone() + passed } else { (head + passed).starts_with(&came) }, "{came}");
        assert_eq!(heard.contains("200 OK"), whole, "{sent}");
        assert!(whole || ended == Err(io::ErrorKind::ConnectionReset), "{ended:?} {sent}");
    }
}

const TUNNEL: &str = "CONNECT a:80 HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn bytes_one_way_keep_a_connection() {
    let limits = ProxyLimits { idle_seconds_max: 3, ..ProxyLimits::default() };
    let drips = async |server: &mut TcpStream| {
        for _ in 0..16 {
            server.write_all(b".").await.unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let Through { heard, ended, .. } = through(limits, TUNNEL, drips).await;
    assert_eq!((heard.matches('.').count(), ended), (17, Ok(())), "{heard}");
}

#[tokio::test]
async fn what_is_given_up_does_not_look_like_an_end() {
    let limits = ProxyLimits { idle_seconds_max: 3, ..ProxyLimits::default() };
    let silent = async |server: &mut TcpStream| {
        let _ = server.write_all(b"half").await;
        // Until the proxy has given up.
        let _ = server.read(&mut [0]).await;
    };
    let Through { heard, ended, .. } = through(limits, TUNNEL, silent).await;
    assert!(heard.ends_with("half"), "{heard}");
    assert_eq!(ended, Err(io::ErrorKind::ConnectionReset));
    let limits = ProxyLimits { bytes_max: 60, ..ProxyLimits::default() };
    let much = async |server: &mut TcpStream| drop(server.write_all(&[b'.'; 100]).await);
    assert_eq!(through(limits, TUNNEL, much).await.ended, Err(io::ErrorKind::ConnectionReset));
}
