//! Every limit on what a plugin may use, each with the attack that it stops. The unit is the last word of the name but
//! for `max`.

/// The limits of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    // The engine's.
    /// Stops a guest that computes for ever.
    pub cpu_seconds_max: u64,
    /// Stops a guest that waits for ever: no other limit sees time spent in host calls.
    pub wall_seconds_max: u64,
    /// Stops a guest that takes the host's memory, by one memory or by many.
    pub memory_bytes_max: usize,
    /// Stops a guest that grows its tables instead of its memories.
    pub table_elements_max: usize,
    /// Stops a component made of a great many modules.
    pub instances_max: usize,
    /// Stops a guest that passes huge strings or lists to the host, which copies them.
    pub host_call_bytes_max: usize,
    /// Stops a guest that fills the log, counted over all of a call.
    pub log_bytes_max: u64,
    /// Stops a log of ten million empty lines.
    pub log_lines_max: u64,
    /// Stops one line that no viewer can show; what is longer is cut into several.
    pub log_line_bytes_max: usize,
    // The file capability's.

    // The HTTP capability's.
    pub http: HttpLimits,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            cpu_seconds_max: 3_600,
            wall_seconds_max: 3_600,
            memory_bytes_max: 1 << 30,
            table_elements_max: 1_000_000,
            instances_max: 256,
            host_call_bytes_max: 64 << 20,
            log_bytes_max: 16 << 20,
            log_lines_max: 200_000,
            log_line_bytes_max: 16 << 10,
            http: HttpLimits::default(),
        }
    }
}

/// The limits of the HTTP requests of one call. A plugin may shorten a request's times, never lengthen them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Stops a guest that uses the host to flood a server.
    pub requests_max: u64,
    /// Stops a guest that takes the host's connections and buffers; further requests wait.
    pub requests_in_flight_max: usize,
    /// Stops a name server, or a server that never answers the connection or the TLS handshake: one limit for the lookup,
    /// and one for the rest.
    pub connect_ms_max: u64,
    /// Stops a server that accepts a request and never answers. Begins anew while the request's body goes out.
    pub first_byte_ms_max: u64,
    /// Stops a server that answers and then falls silent.
    pub between_bytes_ms_max: u64,
    /// Stops a server that sends a byte now and then, for ever.
    pub total_ms_max: u64,
    /// Stops a guest that sends huge values, or a stand-in for a long secret very often.
    pub request_header_bytes_max: usize,
    /// Stops a guest that uses the host to fill a server.
    pub request_body_bytes_max: u64,
    /// Stops a server that answers with thousands of headers.
    pub response_headers_max: usize,
    /// Stops a server whose headers never end; at least 8,192.
    pub response_header_bytes_max: usize,
    /// Stops a server that sends for ever.
    pub response_body_bytes_max: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            requests_max: 1_000,
            requests_in_flight_max: 16,
            connect_ms_max: 30_000,
            first_byte_ms_max: 300_000,
            between_bytes_ms_max: 60_000,
            total_ms_max: 1_800_000,
            request_header_bytes_max: 64 << 10,
            request_body_bytes_max: 1 << 30,
            response_headers_max: 100,
            response_header_bytes_max: 64 << 10,
            response_body_bytes_max: 1 << 30,
        }
    }
}
