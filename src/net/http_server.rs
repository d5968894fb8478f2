//! One request of a connection to a listener of trustup, over HTTP/1.1 without TLS. Its head is limited here, its time and
//! the number of connections by the [`listener`](super::listener) (threat T26).

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest head of a request, in bytes; hyper accepts no smaller value.
const MAX_HEAD: usize = 8 * 1024;

/// Has the first request on `stream` answered by `respond`, and closes it. A body is not read.
pub(crate) async fn answer<H, F>(stream: TcpStream, respond: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A peer that sends nonsense is simply dropped.
    drop(served);
}
