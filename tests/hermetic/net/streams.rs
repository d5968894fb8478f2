//! Bodies in pieces: events that come slowly or without end, uploads whose length is known or not.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use trustup::error::{Error, ErrorKind};
use trustup::host::env::Env;
use trustup::host::shutdown::Shutdown;
use trustup::net::dns::ResolverSettings;
use trustup::net::{AnswerStream, Client, HttpRequest, Net, NetContext, Trust, Upload};

use super::{PATIENCE, block_on, check, net};
use crate::servers::{Stream, WebServer, listen, path_of, respond};

const HEAD: &[u8] = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Writes one chunk of an answer (RFC 9112 section 7.1).
fn event(stream: &mut dyn Stream, text: &str) -> io::Result<()> {
    write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
    stream.flush()
}

fn request(server: &WebServer) -> HttpRequest {
    HttpRequest::get(server.url("/events").parse().expect("URL"))
}

fn client(net: &Net, server: &WebServer) -> Client {
    net.client(&server.url("/").parse().expect("URL"), &Trust::Unverified).expect("client")
}

/// The pieces of an answer, and how it ended.
async fn pieces(mut answer: AnswerStream) -> (Vec<String>, Option<Error>) {
    let mut pieces = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => pieces.push(String::from_utf8_lossy(&piece).into_owned()),
            Ok(None) => return (pieces, None),
            Err(error) => return (pieces, Some(error)),
        }
    }
}

#[test]
fn events_come_as_they_happen_for_longer_than_a_request_may_take() {
    let (next, go) = mpsc::channel::<()>();
    let go = Mutex::new(go);
    let server = WebServer::http(move |_, stream| {
        stream.write_all(HEAD)?;
        for number in 0..4 {
            event(stream, &format!("event {number}"))?;
            // Not before the last one was read: each comes by itself.
            go.lock().expect("channel").recv().expect("a reader");
        }
        stream.write_all(b"0\r\n\r\n")
    });
    let timeout = Duration::from_secs(1);
    let seen = block_on(async {
        let mut answer =
            client(&net(timeout), &server).stream(request(&server), None, None).await.expect("begun");
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains_key("transfer-encoding"));
        let mut seen = Vec::new();
        while let Some(piece) = answer.chunk().await.expect("an event") {
            seen.push(String::from_utf8_lossy(&piece).into_owned());
            tokio::time::sleep(timeout / 2).await;
            next.send(()).expect("a server");
        }
        seen
    });
    assert_eq!(seen, ["event 0", "event 1", "event 2", "event 3"]);
}

#[test]
fn an_endless_answer_ends_by_limit_deadline_or_silence() {
    let server = WebServer::http(|_, stream| {
        stream.write_all(HEAD)?;
        let text = "x".repeat(1000);
        loop {
            event(stream, &text)?;
        }
    });
    let (pieces_, error) = block_on(async {
        let limited = HttpRequest { limit: 10_240, ..request(&server) };
        pieces(client(&net(PATIENCE), &server).stream(limited, None, None).await.expect("begun")).await
    });
    check(&error.expect("too much"), ErrorKind::Failed, &["larger than 10 KiB"]);
    assert!(pieces_.iter().map(String::len).sum::<usize>() <= 10_240);

    let endless = HttpRequest { limit: u64::MAX, ..request(&server) };
    let (_, error) = block_on(async {
        let client = client(&net(PATIENCE), &server).within(Duration::from_millis(500));
        pieces(client.stream(endless, None, None).await.expect("begun")).await
    });
    check(&error.expect("too long"), ErrorKind::Unreachable, &["no complete answer", "within 0.5 s"]);

    let (done, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let silent = WebServer::http(move |_, stream| {
        stream.write_all(HEAD)?;
        event(stream, "the last one")?;
        // Returns when the test is over.
        let _ = ended.lock().expect("channel").recv();
        Ok(())
    });
    let (seen, error) = block_on(async {
        let client = client(&net(PATIENCE), &silent);
        let idle = Some(Duration::from_millis(300));
        pieces(client.stream(request(&silent), None, idle).await.expect("begun")).await
    });
    assert_eq!(seen, ["the last one"]);
    check(&error.expect("silence"), ErrorKind::Unreachable, &["sent nothing for 0.3 s"]);
    drop(done);
}

#[test]
fn a_broken_answer_is_no_end() {
    let server = WebServer::http(|_, stream| {
        stream.write_all(HEAD)?;
        event(stream, "one")
    });
    let (seen, error) = block_on(async {
        pieces(client(&net(PATIENCE), &server).stream(request(&server), None, None).await.expect("begun"))
            .await
    });
    assert_eq!(seen, ["one"]);
    check(&error.expect("cut off"), ErrorKind::Unreachable, &["closed the connection"]);
}

/// Set in the copy of this program that waits for a signal: where the server is.
const INSIDE: &str = "TRUSTUP_TEST_STREAM";

#[test]
fn a_signal_ends_a_stream() {
    if let Ok(url) = std::env::var(INSIDE) {
        let shutdown = Shutdown::of_process().expect("signals");
        let error = block_on(async {
            shutdown.handle().expect("signals");
            let env = Env::fixed([], 0);
            let mut context = NetContext::from(&env);
            context.shutdown = shutdown.clone();
            let names = ResolverSettings::from_texts(None, None);
            let net = Net::new(context, &names, PATIENCE).expect("network");
            let url: url::Url = url.parse().expect("URL");
            let client = net.client(&url, &Trust::Unverified).expect("client");
            let events = HttpRequest::get(url.clone());
            let mut answer = client.stream(events, None, None).await.expect("begun");
            assert_eq!(answer.chunk().await.expect("a piece").as_deref(), Some(&b"one"[..]));
            let ready = HttpRequest::get(url.join("/ready").expect("URL"));
            // The signal may come before this answer.
            let _ = client.send(ready).await;
            answer.chunk().await.expect_err("no end")
        });
        assert!(error.to_string().contains("ended by SIGTERM"), "{error}");
        return;
    }
    let (begun, is_begun) = mpsc::channel();
    let (done, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let server = WebServer::http(move |head, stream| {
        if path_of(head) == "/ready" {
            respond(stream, 200, &[], b"")?;
            begun.send(()).expect("the test");
            return Ok(());
        }
        stream.write_all(HEAD)?;
        event(stream, "one")?;
        let _ = ended.lock().expect("channel").recv();
        Ok(())
    });
    let copy = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "net::streams::a_signal_ends_a_stream", "--nocapture"])
        .env(INSIDE, server.url("/events"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("a copy");
    is_begun.recv_timeout(Duration::from_secs(60)).expect("the stream has begun");
    let pid = rustix::process::Pid::from_raw(copy.id().try_into().expect("pid")).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
    let output = copy.wait_with_output().expect("its end");
    drop(done);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace('\n', "\n  | ");
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
}

/// Answers an upload with its head's last lines and its body as it came.
fn mirror() -> WebServer {
    WebServer::http(|head, stream| {
        let head = head.to_lowercase();
        let mut body = Vec::new();
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        match length {
            Some((length, _)) => {
                body.resize(length.parse().expect("length"), 0);
                stream.read_exact(&mut body)?;
            }
            None => {
                let mut byte = [0];
                while !body.ends_with(b"\r\n0\r\n\r\n") {
                    stream.read_exact(&mut byte)?;
                    body.push(byte[0]);
                }
            }
        }
        respond(stream, 200, &[], &[head.as_bytes(), &body].concat())
    })
}

fn put(server: &WebServer) -> HttpRequest {
    let mut request = HttpRequest::post(server.url("/archive").parse().expect("URL"), Vec::new());
    request.method = "PUT".parse().expect("method");
    request
}

/// Sends `upload` to such a server; the head and the body that it got.
async fn upload(client: &Client, server: &WebServer, upload: Upload) -> (String, Vec<u8>) {
    let mut answer = client.stream(put(server), Some(upload), Some(PATIENCE)).await.expect("sent");
    let mut all = Vec::new();
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        all.extend_from_slice(&piece);
    }
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = all.split_off(end);
    (String::from_utf8(all).expect("text"), body)
}

/// The data of a body in chunks.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n").expect("a line");
        let length = std::str::from_utf8(&body[..line]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return data;
        }
        data.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
}

#[test]
fn uploads_arrive_whole_with_their_length_or_in_chunks() {
    let server = mirror();
    let archive: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    block_on(async {
        let client = client(&net(PATIENCE), &server);
        let sized = Upload::sized(Cursor::new(archive.clone()), 300_000);
        let (head, body) = upload(&client, &server, sized).await;
        assert!(head.starts_with("put /archive http/1.1\r\n"), "{head}");
        assert!(head.contains("content-length: 300000\r\n") && !head.contains("chunked"), "{head}");
        assert!(body == archive);
        // No more than was announced.
        let (head, body) =
            upload(&client, &server, Upload::sized(Cursor::new(archive.clone()), 70_000)).await;
        assert!(head.contains("content-length: 70000\r\n") && body == archive[..70_000], "{head}");
        let (head, body) = upload(&client, &server, Upload::chunked(Cursor::new(archive.clone()))).await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert!(unchunked(&body) == archive);
    });
}

#[test]
fn a_slow_upload_takes_longer_than_a_request_may() {
    let server = mirror();
    let timeout = Duration::from_secs(2);
    let (head, body) = block_on(async {
        let client = client(&net(timeout), &server);
        let (mut writer, reader) = tokio::io::duplex(16);
        let writing = async {
            for _ in 0..3 {
                tokio::time::sleep(timeout / 2).await;
                writer.write_all(b"piece ").await.expect("read");
            }
            drop(writer);
        };
        tokio::join!(upload(&client, &server, Upload::chunked(reader)), writing).0
    });
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert_eq!(unchunked(&body), b"piece piece piece ");
}

/// A reader that fails.
struct Failing;

impl AsyncRead for Failing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("the disk is gone")))
    }
}

#[test]
fn an_upload_that_cannot_be_read_is_not_the_servers_fault() {
    let server = mirror();
    let short = || Upload::sized(Cursor::new(b"short".to_vec()), 100);
    for (upload, words) in
        [(short(), "95 bytes before the announced length"), (Upload::chunked(Failing), "the disk is gone")]
    {
        let broken = block_on(async {
            client(&net(PATIENCE), &server).stream(put(&server), Some(upload), None).await.expect_err(words)
        });
        check(&broken.error, ErrorKind::Failed, &["could not read what is sent", words]);
    }
}

#[test]
fn an_upload_that_nobody_reads_ends() {
    // Its backlog takes the connection, and as much as fits into buffers.
    let listener = listen();
    let url: url::Url = format!("http://{}/", listener.local_addr().expect("address")).parse().expect("URL");
    let broken = block_on(async {
        let client = net(Duration::from_millis(500)).client(&url, &Trust::Unverified).expect("client");
        let endless = Upload::chunked(tokio::io::repeat(b'x'));
        client.stream(HttpRequest::post(url, Vec::new()), Some(endless), None).await.expect_err("stalled")
    });
    check(&broken.error, ErrorKind::Unreachable, &["sent nothing for 0.5 s"]);
}
