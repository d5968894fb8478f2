//! Bodies in pieces: what is sent is read while it is sent, and the answer is handed on as it comes. Such an exchange may
//! take for ever: what ends it is silence, the deadline of the work that it belongs to, the caller's limit, or a signal.

use std::fmt;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::client::{Broken, Client, HttpRequest, refuse_compressed};
use super::failure::{self, UploadError};
use crate::error::{Error, Result};

/// The largest piece that is read of an upload.
const PIECE: usize = 64 * 1024;

/// What is sent: read while it is sent, and never as a whole in memory.
pub struct Upload {
    reader: Pin<Box<dyn AsyncRead + Send + Sync>>,
    /// How much is left to send; `None` if only the reader knows.
    left: Option<u64>,
}

impl Upload {
    /// The first `length` bytes of `reader`, announced by `Content-Length`. A reader that ends earlier is an error.
    pub fn sized(reader: impl AsyncRead + Send + Sync + 'static, length: u64) -> Self {
        Upload { reader: Box::pin(reader), left: Some(length) }
    }

    /// All of `reader`, in chunks.
    pub fn chunked(reader: impl AsyncRead + Send + Sync + 'static) -> Self {
        Upload { reader: Box::pin(reader), left: None }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("left", &self.left).finish_non_exhaustive()
    }
}

/// When something was last sent or received.
#[derive(Clone, Debug)]
struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    fn new() -> Self {
        Activity(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.last() = Instant::now();
    }
}

/// An upload on its way.
struct Sending {
    upload: Upload,
    piece: Vec<u8>,
    activity: Activity,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Sending { upload: Upload { reader, left }, piece, activity } = self.get_mut();
        let wanted = left.map_or(PIECE, |left| usize::try_from(left).map_or(PIECE, |left| left.min(PIECE)));
        if wanted == 0 {
            return Poll::Ready(None);
        }
        piece.resize(PIECE, 0);
        let mut read = ReadBuf::new(&mut piece[..wanted]);
        if let Err(error) = ready!(reader.as_mut().poll_read(context, &mut read)) {
            return Poll::Ready(Some(Err(UploadError(error))));
        }
        activity.now();
        let read = read.filled();
        if read.is_empty() {
            return Poll::Ready(left.map(|left| {
                let early = format!("it ended {left} bytes before the announced length");
                Err(UploadError(io::Error::new(io::ErrorKind::UnexpectedEof, early)))
            }));
        }
        if let Some(left) = left {
            *left = left.saturating_sub(read.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer that is read in pieces.
#[derive(Debug)]
pub struct AnswerStream {
    client: Client,
    url: Url,
    /// HTTP status.
    pub status: u16,
    /// As the server sent them.
    pub headers: HeaderMap,
    response: Response,
    activity: Activity,
    /// The longest silence.
    idle: Option<Duration>,
    /// How many bytes may come yet, and how many might come in all.
    left: u64,
    limit: u64,
}

impl Client {
    /// Sends one request, once, with `upload` as its body if there is one, and hands the answer on as it comes, whatever
    /// its status. The head of the answer may take as long as one attempt from the last piece of the upload; then
    /// nothing ends a silence that is shorter than `idle`. All of it ends with the time of [`Client::within`], if that
    /// was called, and after [`HttpRequest::limit`] bytes.
    ///
    /// # Errors
    /// No answer in time, one that is compressed or not HTTP, a server that is not trusted, or an upload that cannot be
    /// read.
    pub async fn stream(
        &self,
        request: HttpRequest,
        upload: Option<Upload>,
        idle: Option<Duration>,
    ) -> Result<AnswerStream, Broken> {
        let (url, limit) = (request.url.clone(), request.limit);
        let activity = Activity::new();
        let body = upload.map(|upload| {
            reqwest::Body::wrap(Sending { upload, piece: Vec::new(), activity: activity.clone() })
        });
        let begun = async {
            tokio::select! {
                biased;
                error = self.stalled(&url, &activity, Some(self.net.timeout)) => Err(Broken { error, sent: true }),
                begun = self.begin(request, body) => begun,
            }
        };
        let begun = self.net.shutdown.or(begun).await;
        let mut response = begun.map_err(|error| Broken { error, sent: true }).flatten()?;
        refuse_compressed(&url, &response).map_err(|error| Broken { error, sent: true })?;
        let headers = std::mem::take(response.headers_mut());
        let status = response.status().as_u16();
        let client = self.clone();
        Ok(AnswerStream { client, url, status, headers, response, activity, idle, left: limit, limit })
    }

    /// Returns when the time of the work is over, or nothing was sent or received for `idle`.
    async fn stalled(&self, url: &Url, activity: &Activity, idle: Option<Duration>) -> Error {
        loop {
            let now = Instant::now();
            let silent_at = idle.and_then(|idle| activity.last().checked_add(idle));
            if self.net.deadline.is_some_and(|deadline| deadline <= now) {
                return failure::timed_out(&self.peer(url), self.net.timeout);
            }
            if silent_at.is_some_and(|at| at <= now) {
                return failure::silent(&self.peer(url), idle.unwrap_or_default());
            }
            match self.net.deadline.into_iter().chain(silent_at).min() {
                Some(next) => sleep_until(next).await,
                None => pending().await,
            }
        }
    }
}

impl AnswerStream {
    /// The next piece, as it came; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, nothing came for too long, the time is over, more came than the limit, or a signal came.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.activity.now();
        let AnswerStream { client, url, response, activity, idle, .. } = self;
        let next = async {
            tokio::select! {
                // The deadline first: a server that floods us always has a piece.
                biased;
                error = client.stalled(url, activity, *idle) => Err(error),
                next = response.chunk() => next.map_err(|error| failure::explain(&error, &client.peer(url))),
            }
        };
        let Some(piece) = client.net.shutdown.or(next).await?? else { return Ok(None) };
        match self.left.checked_sub(piece.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(failure::too_large(&self.url, self.limit)),
        }
        Ok(Some(piece))
    }
}
