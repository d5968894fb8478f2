//! What a daemon answers over HTTP (`--listen`): `/metrics`, `/healthz` and `/readyz`. Every answer comes from the
//! daemon's own loop, so that any answer proves that it turns. No answer has a path, an address or the text of an error
//! (threat T46).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::Result;
use crate::net::http_server;
use crate::net::listener::{Listener, could_not_listen};
use crate::renew::metrics;

/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many requests may wait for the loop.
const WAITING: usize = 64;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// What is known of all certificates.
    Metrics,
    /// Whether the daemon works.
    Health,
    /// Whether all certificates work.
    Readiness,
}

/// A request to the loop.
pub(super) struct Asked {
    pub(super) page: Page,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What is answered: whether it is good news, and the text.
pub(super) type Answer = (bool, String);

/// Where requests arrive.
#[derive(Debug)]
pub(super) struct Probes {
    listener: Listener,
    asked: mpsc::Receiver<Asked>,
}

impl Probes {
    /// Listens at `address` until it is dropped. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub(super) fn start(address: SocketAddr) -> Result<Self> {
        let (ask, asked) = mpsc::channel(WAITING);
        let started = Listener::bind(address).and_then(|listener| {
            Listener::start(listener, move |stream| {
                let ask = ask.clone();
                http_server::answer(stream, move |request| respond(ask.clone(), request))
            })
        });
        let listener =
            started.map_err(|error| could_not_listen("the listener of the daemon", address, error))?;
        Ok(Probes { listener, asked })
    }

    /// Its listening address.
    pub(super) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The next request; `None` if the listener has ended.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        self.asked.recv().await
    }
}

fn page(path: &str) -> Option<Page> {
    match path {
        "/metrics" => Some(Page::Metrics),
        "/healthz" => Some(Page::Health),
        "/readyz" => Some(Page::Readiness),
        _ => None,
    }
}

async fn respond<B>(ask: mpsc::Sender<Asked>, request: Request<B>) -> Response<Full<Bytes>> {
    let page = page(request.uri().path());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match page {
        None => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        Some(_) if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n".to_owned()),
        Some(page) => match timeout(PATIENCE, answer(&ask, page)).await {
            Ok(Some((true, text))) => (StatusCode::OK, text),
            Ok(Some((false, text))) => (StatusCode::SERVICE_UNAVAILABLE, text),
            Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon ends\n".to_owned()),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is busy\n".to_owned()),
        },
    };
    let kind = match (page, status) {
        (Some(Page::Metrics), StatusCode::OK) => metrics::CONTENT_TYPE,
        _ => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// `None` if there is no loop any more.
async fn answer(ask: &mpsc::Sender<Asked>, page: Page) -> Option<Answer> {
    let (answer, answered) = oneshot::channel();
    ask.send(Asked { page, answer }).await.ok()?;
    answered.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t46_exactly_three_pages_are_read_and_nothing_else() {
        let runtime = crate::host::runtime::build().expect("a runtime");
        runtime.block_on(async {
            let (ask, mut asked) = mpsc::channel::<Asked>(1);
            let status = async |method: Method, target: &str| {
                let request = Request::builder().method(method).uri(target).body(()).expect("request");
                respond(ask.clone(), request).await.status().as_u16()
            };
            for other in
                ["/", "/metrics/", "//metrics", "/METRICS", "/metrics/../readyz", "/%6detrics", "/etc/passwd"]
            {
                assert_eq!(status(Method::GET, other).await, 404, "{other}");
            }
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
                assert_eq!(status(method, "/metrics").await, 405);
            }
            for (target, page, is_good, wanted) in [
                ("/metrics", Page::Metrics, true, 200),
                ("/healthz?verbose", Page::Health, true, 200),
                ("/readyz", Page::Readiness, false, 503),
            ] {
                for method in [Method::GET, Method::HEAD] {
                    let turn = async {
                        let Asked { page, answer } = asked.recv().await.expect("a request");
                        answer.send((is_good, "x".to_owned())).expect("somebody waits");
                        page
                    };
                    let (status, seen) = tokio::join!(status(method, target), turn);
                    assert_eq!((status, seen), (wanted, page), "{target}");
                }
            }
            drop(asked);
            assert_eq!(status(Method::GET, "/healthz").await, 503, "no loop answers");
        });
    }
}
