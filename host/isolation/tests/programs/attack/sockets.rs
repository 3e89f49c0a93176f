//! Ways to the network, and to whoever listens on this machine.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use crate::{Deed, Got, Outcome, Refused, any, result};

pub const DEEDS: &[Deed] = &[
    ("families", families),
    ("connect", connect),
    ("send", send),
    ("connect-path", connect_path),
    ("connect-abstract", connect_abstract),
];

/// Sockets of every family and type but those that a job may have: of its own network and of files.
fn families(_: &[String]) -> Outcome {
    let allowed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let mut made = Vec::new();
    for family in 0..64 {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            // SAFETY: a plain system call.
            let socket = unsafe { libc::socket(family, kind, 0) };
            let raw = kind == libc::SOCK_RAW && ![libc::AF_UNIX, libc::AF_NETLINK].contains(&family);
            if result(socket.into()).is_ok() && (raw || !allowed.contains(&family)) {
                made.push((family, kind));
            }
        }
    }
    if made.is_empty() { Refused("none".to_owned()) } else { Got(format!("{made:?}")) }
}

fn connect(addresses: &[String]) -> Outcome {
    let limit = Duration::from_secs(2);
    any(addresses.iter().map(|address| {
        let to = address.parse().expect("an address");
        (address.clone(), TcpStream::connect_timeout(&to, limit).map(drop))
    }))
}

/// What was sent may be lost: an answer to the second word says whether anybody was there.
fn send(addresses: &[String]) -> Outcome {
    let sent = |address: &String| -> io::Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        socket.send(b"hello")?;
        socket.recv(&mut [0; 8]).map(drop)
    };
    any(addresses.iter().map(|address| (address.clone(), sent(address))))
}

fn connect_path(paths: &[String]) -> Outcome {
    any(paths.iter().map(|path| (path.clone(), UnixStream::connect(path).map(drop))))
}

fn connect_abstract(names: &[String]) -> Outcome {
    any(names.iter().map(|name| {
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        (name.clone(), UnixStream::connect_addr(&address).map(drop))
    }))
}
