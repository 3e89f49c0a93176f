//! Sockets of WASI: there are none, whatever is granted, and a plugin that tries is told what there is instead.
//!
//! Owns the refusal of everything by which a plugin comes to a socket. Must not know the HTTP capability.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use crate::seam::HostCallOutcome;
use crate::state::State;

/// As host calls are journaled.
const NAME: &str = "sockets";

/// In the place of WASI's own.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    tcp_create_socket::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    udp_create_socket::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    ip_name_lookup::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl State {
    fn refuse_socket<T>(&self, operation: &'static str, target: &str) -> SocketResult<T> {
        let timer = self.seam.begin(NAME, operation);
        let denial =
            self.seam.denial_of_all(&format!("to use a socket of its own ({operation} {target})"), "requests by HTTP");
        timer.end(target, HostCallOutcome::Denied(denial), 0);
        Err(ErrorCode::AccessDenied.into())
    }
}

fn family(family: IpAddressFamily) -> &'static str {
    match family {
        IpAddressFamily::Ipv4 => "IPv4",
        IpAddressFamily::Ipv6 => "IPv6",
    }
}

impl tcp_create_socket::Host for State {
    fn create_tcp_socket(&mut self, address: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.refuse_socket("tcp", family(address))
    }
}

impl udp_create_socket::Host for State {
    async fn create_udp_socket(&mut self, address: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        self.refuse_socket("udp", family(address))
    }
}

impl ip_name_lookup::Host for State {
    fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        self.refuse_socket("lookup", &name)
    }
}

/// Of a stream that nobody gets.
impl ip_name_lookup::HostResolveAddressStream for State {
    fn resolve_next_address(&mut self, stream: Resource<ResolveAddressStream>) -> SocketResult<Option<IpAddress>> {
        self.sockets().resolve_next_address(stream)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.sockets().subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

impl network::Host for State {
    fn network_error_code(
        &mut self,
        error: Resource<wasmtime_wasi::p2::bindings::io::error::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.sockets().network_error_code(error)
    }

    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl network::HostNetwork for State {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}
