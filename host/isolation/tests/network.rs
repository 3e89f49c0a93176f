//! A job's only way to the network: the proxy, real servers behind it, and what is refused.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{World, isolation, run};
use pipewright_isolation::{Job, Origin, Proxy, ProxyLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers with what it was asked, and the proxy that leads to it by the name `granted.test`.
struct Net {
    port: u16,
    proxy: Arc<Proxy>,
    denied: Arc<Mutex<Vec<String>>>,
    connected: Arc<AtomicUsize>,
}

async fn net(limits: ProxyLimits) -> Net {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 4_096];
                let length = client.read(&mut asked).await.unwrap_or(0);
                let _ = client.write_all(b"HTTP/1.0 200 OK\r\n\r\nyou asked:\n").await;
                let _ = client.write_all(&asked[..length]).await;
            });
        }
    });
    let denied = Arc::<Mutex<Vec<String>>>::default();
    let connected = Arc::<AtomicUsize>::default();
    let (told, count) = (Arc::clone(&denied), Arc::clone(&connected));
    let connect = move |origin: &Origin| -> pipewright_isolation::Connected {
        count.fetch_add(1, Ordering::Relaxed);
        let (host, port) = (origin.host.clone(), origin.port);
        Box::pin(async move {
            if host == "inside.test" {
                return Err("its address is not public".to_owned());
            }
            TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())
        })
    };
    let refuse = move |origin: &Origin| {
        told.lock().unwrap().push(origin.to_string());
        format!("`{origin}` is not granted")
    };
    let granted = ["granted.test", "inside.test"].map(|host| Origin { host: host.to_owned(), port }).to_vec();
    let proxy = Arc::new(Proxy::new(granted, Box::new(connect), Box::new(refuse), limits));
    Net { port, proxy, denied, connected }
}

impl Net {
    /// A job that speaks to the proxy word for word.
    fn job(&self, world: &World, request: &str) -> Job {
        let mut job = world.job(&[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf \"$REQUEST\" >&3; cat <&3; echo; echo \"$HTTP_PROXY $https_proxy\"",
        ]);
        job.environment.push(("REQUEST".to_owned(), request.replace("PORT", &self.port.to_string())));
        job.network = Some(Arc::clone(&self.proxy));
        job
    }
}

#[tokio::test]
async fn what_is_granted_is_reached_and_the_rest_is_refused_in_words() {
    let Some(isolation) = isolation().await else { return };
    let (world, net) = (World::new(), net(ProxyLimits::default()).await);
    let (port, granted) = (net.port, format!("granted.test:{}", net.port));
    for (request, expected) in [
        (
            "GET http://granted.test:PORT/a?b HTTP/1.1\\r\\nHost: granted.test:PORT\\r\\nA: b\\r\\nProxy-Authorization: c\\r\\n\\r\\n",
            format!("you asked:\nGET /a?b HTTP/1.1\r\nHost: {granted}\r\nConnection: close\r\nA: b\r\n\r\n"),
        ),
        (
            "CONNECT granted.test:PORT HTTP/1.1\\r\\n\\r\\nhello",
            "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.0 200 OK\r\n\r\nyou asked:\nhello".to_owned(),
        ),
        ("CONNECT other.test:443 HTTP/1.1\\r\\n\\r\\n", "403 Forbidden".to_owned()),
        ("CONNECT other.test:443 HTTP/1.1\\r\\n\\r\\n", "`other.test:443` is not granted\n".to_owned()),
        // The port belongs to the origin.
        ("GET http://granted.test/ HTTP/1.1\\r\\n\\r\\n", "`granted.test:80` is not granted\n".to_owned()),
        ("CONNECT inside.test:PORT HTTP/1.1\\r\\n\\r\\n", format!("inside.test:{port}: its address is not public\n")),
        ("GET / HTTP/1.1\\r\\n\\r\\n", "400 Bad Request".to_owned()),
        ("GET http://granted.test:PORT/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "another Host than its address".to_owned()),
        ("nonsense\\r\\n\\r\\n", "this proxy takes CONNECT".to_owned()),
    ] {
        let (ended, output) = run(&isolation, &net.job(&world, request)).await;
        assert!(ended.unwrap().is_success(), "{output}");
        assert!(output.contains(&expected), "{request}\n{output}");
        assert!(output.ends_with("http://127.0.0.1:3128 http://127.0.0.1:3128\n"), "{output}");
    }
    assert_eq!(*net.denied.lock().unwrap(), ["other.test:443", "other.test:443", "granted.test:80"]);
    // Nothing was connected to that was not granted.
    assert_eq!(net.connected.load(Ordering::Relaxed), 3);
    assert!(net.proxy.bytes() > 100);
}

#[tokio::test]
async fn what_goes_through_is_limited() {
    let world = World::new();
    let net = net(ProxyLimits { bytes_max: 60, ..ProxyLimits::default() }).await;
    let Some(isolation) = isolation().await else { return };
    let job = net.job(&world, "CONNECT granted.test:PORT HTTP/1.1\\r\\n\\r\\n0123456789012345678901234567890123456789");
    let (_, output) = run(&isolation, &job).await;
    assert!(output.contains("established") && !output.contains("0123456789"), "{output}");
    let (_, output) = run(&isolation, &job).await;
    assert!(output.contains("more than 60 bytes went through already"), "{output}");
}

#[tokio::test]
async fn without_a_grant_nobody_listens() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    let mut job = net(ProxyLimits::default()).await.job(&world, "");
    job.network = None;
    let (_, output) = run(&isolation, &job).await;
    assert!(output.contains("Connection refused") && !output.contains("3128 http"), "{output}");
}
