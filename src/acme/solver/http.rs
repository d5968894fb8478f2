//! http-01 by a listener of our own (RFC 8555 section 8.3): exactly the paths of the challenges, GET and HEAD, request
//! heads of at most 8 KiB (threat T26).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use crate::acme::order::Answer;
use crate::net::http_server;
use crate::net::listener::Listener;

/// Below it, the token is the name of the file.
pub(super) const DIRECTORY: &str = "/.well-known/acme-challenge/";

/// Path to key authorization.
type Paths = BTreeMap<String, String>;

/// Answers the challenges on `listener`.
pub(super) fn serve(listener: TcpListener, answers: &[&Answer]) -> io::Result<Listener> {
    let path = |answer: &&Answer| (format!("{DIRECTORY}{}", answer.token), answer.key_authorization.clone());
    let paths: Arc<Paths> = Arc::new(answers.iter().map(path).collect());
    Listener::start(listener, move |stream| {
        let paths = Arc::clone(&paths);
        http_server::answer(stream, move |request| std::future::ready(respond(&paths, &request)))
    })
}

fn respond<B>(paths: &Paths, request: &Request<B>) -> Response<Full<Bytes>> {
    let target = request.uri();
    let found = paths.get(target.path()).filter(|_| target.query().is_none());
    let (status, body) = match (found, request.method()) {
        (None, _) => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        (Some(body), &Method::GET | &Method::HEAD) => (StatusCode::OK, body.clone()),
        (Some(_), _) => (StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t26_exactly_the_path_is_answered() {
        let paths = Paths::from([("/.well-known/acme-challenge/tok".to_owned(), "tok.key".to_owned())]);
        let status = |method: Method, target: &str| {
            let request = Request::builder().method(method).uri(target).body(()).expect("request");
            respond(&paths, &request).status().as_u16()
        };
        let path = "/.well-known/acme-challenge/tok";
        assert_eq!((status(Method::GET, path), status(Method::HEAD, path)), (200, 200));
        assert_eq!((status(Method::POST, path), status(Method::DELETE, path)), (405, 405));
        for other in [
            "/",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/tok/",
            "/.well-known/acme-challenge/tok?x",
            "/.well-known/acme-challenge//tok",
            "/.well-known/acme-challenge/../acme-challenge/tok",
            "/.well-known/acme-challenge/%74ok",
            "/.WELL-KNOWN/acme-challenge/tok",
        ] {
            assert_eq!(status(Method::GET, other), 404, "{other}");
        }
    }
}
