//! wasi:http as guests call it, with the memory counted that each of its resources holds.
//!
//! wasmtime's implementation bounds one map of fields and no other text, and lets a guest have thousands of each. Here
//! whatever a guest can make grow is charged before it grows, and given back when its resource goes. Must not know
//! what becomes of a request.

use std::collections::HashMap;
use std::sync::Arc;

use ::http::HeaderMap;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
    HostResponseOutparam,
};
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult, HttpError, HttpResult};
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpCtxView};

use super::Http;
use crate::state::State;
use pipewright_base::memory::LimitReached;
use pipewright_base::memory::{Charge, HostMemory};

/// What a field costs besides its text: maps grow by doubling.
const FIELD_BYTES: usize = 256;
/// How much of a request's body is passed on at once, and how often that may wait to be sent.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
pub(super) const CHUNKS: usize = 1;
/// A body that is sent: one place of its queue is always more than the chunks.
const OUTGOING_BODY_BYTES: usize = (CHUNKS + 1) * CHUNK_BYTES;
/// A body that is received: the frame that waits to be read.
const INCOMING_BODY_BYTES: usize = 64 << 10;
/// A request under way: its task, its URL in the journal, its place in the queue.
const EXCHANGE_BYTES: usize = 32 << 10;

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    struct HasHttp;
    impl HasData for HasHttp {
        type Data<'a> = Charged<'a>;
    }
    fn charged(state: &mut State) -> Charged<'_> {
        Charged { http: &mut state.held.http, table: &mut state.table }
    }
    outgoing_handler::add_to_linker::<_, HasHttp>(linker, charged)?;
    types::add_to_linker::<_, HasHttp>(linker, &LinkOptions::default().into(), charged)
}

/// What the resources of one call hold, each by its number in the table.
pub(super) struct Weights {
    memory: Arc<HostMemory>,
    held: HashMap<u32, Charge>,
}

impl Weights {
    pub(super) fn new(memory: Arc<HostMemory>) -> Self {
        Self { memory, held: HashMap::new() }
    }

    fn grow(&mut self, number: u32, bytes: usize) -> Result<(), LimitReached> {
        if let Some(charge) = self.held.get_mut(&number) {
            return charge.grow(bytes);
        }
        self.held.insert(number, self.memory.charge(bytes)?);
        Ok(())
    }

    /// The resource is gone.
    fn forget(&mut self, number: u32) -> Option<Charge> {
        self.held.remove(&number)
    }

    /// What one resource held, another one holds now.
    fn pass_on(&mut self, charge: Option<Charge>, to: u32) {
        if let Some(charge) = charge {
            self.held.insert(to, charge);
        }
    }
}

fn weight(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| field(name.as_str().len() + value.len())).sum()
}

/// Of one field, with so many bytes of name and value.
fn field(bytes: usize) -> usize {
    2 * bytes + FIELD_BYTES
}

struct Charged<'a> {
    http: &'a mut Http,
    table: &'a mut ResourceTable,
}

impl Charged<'_> {
    fn view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: self.table, ctx: &mut self.http.ctx }
    }

    fn grow<T>(&mut self, of: &Resource<T>, bytes: usize) -> Result<(), LimitReached> {
        self.http.weights.grow(of.rep(), bytes)
    }

    fn forget(&mut self, number: u32) -> Option<Charge> {
        self.http.weights.forget(number)
    }

    fn pass_on<T>(&mut self, charge: Option<Charge>, to: &Resource<T>) {
        self.http.weights.pass_on(charge, to.rep());
    }

    /// Fields that share their map with others count whole: the others may go first.
    fn weigh_fields(&mut self, fields: Resource<FieldMap>) -> wasmtime::Result<Resource<FieldMap>> {
        let bytes = weight(self.table.get(&fields)?);
        self.grow(&fields, bytes)?;
        Ok(fields)
    }
}

/// Functions that let nothing grow.
macro_rules! pass {
    ($trait:ident: $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&mut self, $($argument: $type),*) -> $answer {
            types::$trait::$name(&mut self.view(), $($argument),*)
        }
    )*};
}

/// The ends of resources.
macro_rules! drops {
    ($trait:ident, $type:ty) => {
        fn drop(&mut self, gone: Resource<$type>) -> wasmtime::Result<()> {
            let number = gone.rep();
            types::$trait::drop(&mut self.view(), gone)?;
            self.forget(number);
            Ok(())
        }
    };
}

type Told<T> = wasmtime::Result<T>;
/// An answer that may be an error without a reason.
type Tried<T> = wasmtime::Result<Result<T, ()>>;
type Duration = types::Duration;

impl types::Host for Charged<'_> {
    pass! { Host:
        convert_error_code(error: HttpError) -> Told<types::ErrorCode>;
        convert_header_error(error: HeaderError) -> Told<types::HeaderError>;
    }

    /// wasmtime's own knows the errors of bodies that are sent, and not those of bodies that are received.
    fn http_error_code(&mut self, error: Resource<types::IoError>) -> Told<Option<types::ErrorCode>> {
        match self.table.get(&error)?.downcast_ref::<Error>() {
            Some(error) => Ok(of_received(error)),
            None => types::Host::http_error_code(&mut self.view(), error),
        }
    }
}

/// The errors that end the body of a response, as guests know them.
fn of_received(error: &Error) -> Option<types::ErrorCode> {
    Some(match error {
        Error::ConnectionReadTimeout => types::ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => types::ErrorCode::ConnectionTerminated,
        Error::HttpProtocolError => types::ErrorCode::HttpProtocolError,
        Error::HttpRequestBodySize(bytes) => types::ErrorCode::HttpRequestBodySize(*bytes),
        Error::HttpResponseBodySize(bytes) => types::ErrorCode::HttpResponseBodySize(*bytes),
        Error::HttpResponseIncomplete => types::ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => types::ErrorCode::HttpResponseTimeout,
        _ => return None,
    })
}

impl types::HostFields for Charged<'_> {
    pass! { HostFields:
        new() -> Told<Resource<FieldMap>>;
        get(fields: Resource<FieldMap>, name: String) -> Told<Vec<Vec<u8>>>;
        has(fields: Resource<FieldMap>, name: String) -> Told<bool>;
        delete(fields: Resource<FieldMap>, name: String) -> HeaderResult<()>;
        entries(fields: Resource<FieldMap>) -> Told<Vec<(String, Vec<u8>)>>;
    }
    drops!(HostFields, FieldMap);

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Resource<FieldMap>> {
        let bytes = entries.iter().map(|(name, value)| field(name.len() + value.len())).sum();
        let charge = self.http.weights.memory.charge(bytes).map_err(HeaderError::trap)?;
        let fields = types::HostFields::from_list(&mut self.view(), entries)?;
        self.pass_on(Some(charge), &fields);
        Ok(fields)
    }

    fn set(&mut self, fields: Resource<FieldMap>, name: String, values: Vec<Vec<u8>>) -> HeaderResult<()> {
        let bytes = values.iter().map(|value| field(name.len() + value.len())).sum();
        self.grow(&fields, bytes).map_err(HeaderError::trap)?;
        types::HostFields::set(&mut self.view(), fields, name, values)
    }

    fn append(&mut self, fields: Resource<FieldMap>, name: String, value: Vec<u8>) -> HeaderResult<()> {
        self.grow(&fields, field(name.len() + value.len())).map_err(HeaderError::trap)?;
        types::HostFields::append(&mut self.view(), fields, name, value)
    }

    fn clone(&mut self, fields: Resource<FieldMap>) -> Told<Resource<FieldMap>> {
        let fields = types::HostFields::clone(&mut self.view(), fields)?;
        self.weigh_fields(fields)
    }
}

impl types::HostOutgoingRequest for Charged<'_> {
    pass! { HostOutgoingRequest:
        method(request: Resource<HostOutgoingRequest>) -> Told<types::Method>;
        path_with_query(request: Resource<HostOutgoingRequest>) -> Told<Option<String>>;
        scheme(request: Resource<HostOutgoingRequest>) -> Told<Option<types::Scheme>>;
        authority(request: Resource<HostOutgoingRequest>) -> Told<Option<String>>;
    }
    drops!(HostOutgoingRequest, HostOutgoingRequest);

    fn new(&mut self, headers: Resource<FieldMap>) -> Told<Resource<HostOutgoingRequest>> {
        let charge = self.forget(headers.rep());
        let request = types::HostOutgoingRequest::new(&mut self.view(), headers)?;
        self.pass_on(charge, &request);
        Ok(request)
    }

    fn body(&mut self, request: Resource<HostOutgoingRequest>) -> Tried<Resource<HostOutgoingBody>> {
        // The queue belongs to both, and goes with whichever goes last.
        let number = request.rep();
        let body = types::HostOutgoingRequest::body(&mut self.view(), request)?;
        if let Ok(body) = &body {
            self.http.weights.grow(number, OUTGOING_BODY_BYTES)?;
            self.grow(body, OUTGOING_BODY_BYTES)?;
        }
        Ok(body)
    }

    fn set_method(&mut self, request: Resource<HostOutgoingRequest>, method: types::Method) -> Tried<()> {
        if let types::Method::Other(name) = &method {
            self.grow(&request, name.len())?;
        }
        types::HostOutgoingRequest::set_method(&mut self.view(), request, method)
    }

    fn set_path_with_query(&mut self, request: Resource<HostOutgoingRequest>, path: Option<String>) -> Tried<()> {
        self.grow(&request, path.as_ref().map_or(0, String::len))?;
        types::HostOutgoingRequest::set_path_with_query(&mut self.view(), request, path)
    }

    fn set_scheme(&mut self, request: Resource<HostOutgoingRequest>, scheme: Option<types::Scheme>) -> Tried<()> {
        if let Some(types::Scheme::Other(name)) = &scheme {
            self.grow(&request, name.len())?;
        }
        types::HostOutgoingRequest::set_scheme(&mut self.view(), request, scheme)
    }

    fn set_authority(&mut self, request: Resource<HostOutgoingRequest>, authority: Option<String>) -> Tried<()> {
        self.grow(&request, authority.as_ref().map_or(0, String::len))?;
        types::HostOutgoingRequest::set_authority(&mut self.view(), request, authority)
    }

    fn headers(&mut self, request: Resource<HostOutgoingRequest>) -> Told<Resource<FieldMap>> {
        let fields = types::HostOutgoingRequest::headers(&mut self.view(), request)?;
        self.weigh_fields(fields)
    }
}

impl types::HostOutgoingBody for Charged<'_> {
    pass! { HostOutgoingBody:
        write(body: Resource<HostOutgoingBody>) -> Tried<Resource<DynOutputStream>>;
    }
    drops!(HostOutgoingBody, HostOutgoingBody);

    fn finish(&mut self, body: Resource<HostOutgoingBody>, trailers: Option<Resource<FieldMap>>) -> HttpResult<()> {
        let number = body.rep();
        if let Some(trailers) = &trailers {
            // They wait in the queue for the request to be sent, which nobody sees from here: they count until the call ends.
            let bytes = weight(self.table.get(trailers)?);
            self.http.weights.memory.take(bytes).map_err(HttpError::trap)?;
            self.forget(trailers.rep());
        }
        let finished = types::HostOutgoingBody::finish(&mut self.view(), body, trailers);
        self.forget(number);
        finished
    }
}

impl types::HostFutureIncomingResponse for Charged<'_> {
    pass! { HostFutureIncomingResponse:
        subscribe(response: Resource<HostFutureIncomingResponse>) -> Told<Resource<DynPollable>>;
        drop(response: Resource<HostFutureIncomingResponse>) -> Told<()>;
    }

    fn get(
        &mut self,
        response: Resource<HostFutureIncomingResponse>,
    ) -> Told<Option<Awaited<Resource<HostIncomingResponse>>>> {
        let answer = types::HostFutureIncomingResponse::get(&mut self.view(), response)?;
        if let Some(Ok(Ok(response))) = &answer {
            let bytes = weight(&self.table.get(response)?.headers);
            self.grow(response, bytes)?;
        }
        Ok(answer)
    }
}

type Awaited<T> = Result<Result<T, types::ErrorCode>, ()>;

impl types::HostIncomingResponse for Charged<'_> {
    pass! { HostIncomingResponse:
        status(response: Resource<HostIncomingResponse>) -> Told<types::StatusCode>;
    }
    drops!(HostIncomingResponse, HostIncomingResponse);

    fn headers(&mut self, response: Resource<HostIncomingResponse>) -> Told<Resource<FieldMap>> {
        let fields = types::HostIncomingResponse::headers(&mut self.view(), response)?;
        self.weigh_fields(fields)
    }

    fn consume(&mut self, response: Resource<HostIncomingResponse>) -> Tried<Resource<HostIncomingBody>> {
        let body = types::HostIncomingResponse::consume(&mut self.view(), response)?;
        if let Ok(body) = &body {
            self.grow(body, INCOMING_BODY_BYTES)?;
        }
        Ok(body)
    }
}

impl types::HostIncomingBody for Charged<'_> {
    pass! { HostIncomingBody:
        stream(body: Resource<HostIncomingBody>) -> Tried<Resource<DynInputStream>>;
    }
    drops!(HostIncomingBody, HostIncomingBody);

    fn finish(&mut self, body: Resource<HostIncomingBody>) -> Told<Resource<HostFutureTrailers>> {
        let charge = self.forget(body.rep());
        let trailers = types::HostIncomingBody::finish(&mut self.view(), body)?;
        self.pass_on(charge, &trailers);
        Ok(trailers)
    }
}

impl types::HostFutureTrailers for Charged<'_> {
    pass! { HostFutureTrailers:
        subscribe(trailers: Resource<HostFutureTrailers>) -> Told<Resource<DynPollable>>;
    }
    drops!(HostFutureTrailers, HostFutureTrailers);

    fn get(&mut self, trailers: Resource<HostFutureTrailers>) -> Told<Option<Awaited<Option<Resource<FieldMap>>>>> {
        let answer = types::HostFutureTrailers::get(&mut self.view(), trailers)?;
        if let Some(Ok(Ok(Some(fields)))) = &answer {
            let bytes = weight(self.table.get(fields)?);
            self.grow(fields, bytes)?;
        }
        Ok(answer)
    }
}

impl types::HostRequestOptions for Charged<'_> {
    pass! { HostRequestOptions:
        new() -> Told<Resource<types::RequestOptions>>;
        connect_timeout(options: Resource<types::RequestOptions>) -> Told<Option<Duration>>;
        set_connect_timeout(options: Resource<types::RequestOptions>, time: Option<Duration>) -> Tried<()>;
        first_byte_timeout(options: Resource<types::RequestOptions>) -> Told<Option<Duration>>;
        set_first_byte_timeout(options: Resource<types::RequestOptions>, time: Option<Duration>) -> Tried<()>;
        between_bytes_timeout(options: Resource<types::RequestOptions>) -> Told<Option<Duration>>;
        set_between_bytes_timeout(options: Resource<types::RequestOptions>, time: Option<Duration>) -> Tried<()>;
        drop(options: Resource<types::RequestOptions>) -> Told<()>;
    }
}

// Plugins serve no requests, so that there never is one of these; a response of their own goes nowhere.

impl types::HostIncomingRequest for Charged<'_> {
    pass! { HostIncomingRequest:
        method(request: Resource<HostIncomingRequest>) -> Told<types::Method>;
        path_with_query(request: Resource<HostIncomingRequest>) -> Told<Option<String>>;
        scheme(request: Resource<HostIncomingRequest>) -> Told<Option<types::Scheme>>;
        authority(request: Resource<HostIncomingRequest>) -> Told<Option<String>>;
        headers(request: Resource<HostIncomingRequest>) -> Told<Resource<FieldMap>>;
        consume(request: Resource<HostIncomingRequest>) -> Tried<Resource<HostIncomingBody>>;
        drop(request: Resource<HostIncomingRequest>) -> Told<()>;
    }
}

impl types::HostResponseOutparam for Charged<'_> {
    pass! { HostResponseOutparam:
        drop(out: Resource<HostResponseOutparam>) -> Told<()>;
        set(
            out: Resource<HostResponseOutparam>,
            response: Result<Resource<HostOutgoingResponse>, types::ErrorCode>
        ) -> Told<()>;
        send_informational(
            out: Resource<HostResponseOutparam>,
            status: u16,
            headers: Resource<FieldMap>
        ) -> HttpResult<()>;
    }
}

impl types::HostOutgoingResponse for Charged<'_> {
    pass! { HostOutgoingResponse:
        status_code(response: Resource<HostOutgoingResponse>) -> Told<types::StatusCode>;
        set_status_code(response: Resource<HostOutgoingResponse>, status: types::StatusCode) -> Tried<()>;
    }
    drops!(HostOutgoingResponse, HostOutgoingResponse);

    fn new(&mut self, headers: Resource<FieldMap>) -> Told<Resource<HostOutgoingResponse>> {
        let charge = self.forget(headers.rep());
        let response = types::HostOutgoingResponse::new(&mut self.view(), headers)?;
        self.pass_on(charge, &response);
        Ok(response)
    }

    fn body(&mut self, response: Resource<HostOutgoingResponse>) -> Tried<Resource<HostOutgoingBody>> {
        let number = response.rep();
        let body = types::HostOutgoingResponse::body(&mut self.view(), response)?;
        if let Ok(body) = &body {
            self.http.weights.grow(number, OUTGOING_BODY_BYTES)?;
            self.grow(body, OUTGOING_BODY_BYTES)?;
        }
        Ok(body)
    }

    fn headers(&mut self, response: Resource<HostOutgoingResponse>) -> Told<Resource<FieldMap>> {
        let fields = types::HostOutgoingResponse::headers(&mut self.view(), response)?;
        self.weigh_fields(fields)
    }
}

impl outgoing_handler::Host for Charged<'_> {
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<types::RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        let number = request.rep();
        self.grow(&request, EXCHANGE_BYTES).map_err(HttpError::trap)?;
        // The request lives on in its exchange, and what it holds with it.
        self.http.hooks.weight = self.forget(number);
        let sent = outgoing_handler::Host::handle(&mut self.view(), request, options);
        self.http.hooks.weight = None;
        sent
    }
}
