//! How bytes leave: well, in part, slowly, without end, or not at all.

use crate::http::Response;
use crate::trick::Manner;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection, with or without TLS, whose TCP socket can be reached.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What becomes of the connection.
pub(crate) enum Next {
    /// It waits for the next request.
    Request,
    /// It is closed in good order.
    Close,
    /// It is left as it is: the client sees the end, or the reset, in the middle of things.
    Break,
}

async fn send<S: Socket>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn next(keep_alive: bool) -> Next {
    if keep_alive { Next::Request } else { Next::Close }
}

/// Sends the true answer.
pub(crate) async fn truth<S: Socket>(
    stream: &mut S,
    response: &Response,
    manner: &Manner,
    keep_alive: bool,
) -> io::Result<Next> {
    match manner {
        Manner::Whole => whole(stream, response, keep_alive).await,
        Manner::Half => half(stream, response).await,
        Manner::ResetAfterHeaders => {
            send(stream, &response.plain_head(true)).await?;
            reset(stream)
        }
        Manner::Drip(pause) => drip(stream, response, *pause).await,
        Manner::Chunked => chunked(stream, response, keep_alive).await,
    }
}

pub(crate) async fn whole<S: Socket>(
    stream: &mut S,
    response: &Response,
    keep_alive: bool,
) -> io::Result<Next> {
    let mut bytes = response.plain_head(keep_alive);
    bytes.extend_from_slice(&response.body);
    send(stream, &bytes).await?;
    Ok(next(keep_alive))
}

/// Says goodbye and waits a moment for the client's, lest unread bytes turn the goodbye into a reset.
pub(crate) async fn close<S: Socket>(mut stream: S) -> io::Result<()> {
    stream.shutdown().await?;
    // A second is for ever on a loopback; a client that still sends then gets its reset.
    let _ = tokio::time::timeout(Duration::from_secs(1), until_closed(&mut stream)).await;
    Ok(())
}

/// Reads over whatever comes, until the client closes.
pub(crate) async fn until_closed<S: Socket>(stream: &mut S) {
    let mut nothing = vec![0; 16 * 1024];
    while let Ok(1..) = stream.read(&mut nothing).await {}
}

/// With a linger of zero the close that follows is an RST.
pub(crate) fn reset<S: Socket>(stream: &mut S) -> io::Result<Next> {
    stream.tcp().set_zero_linger()?;
    Ok(Next::Break)
}

async fn half<S: Socket>(stream: &mut S, response: &Response) -> io::Result<Next> {
    let mut bytes = response.plain_head(true);
    bytes.extend_from_slice(&response.body[..response.body.len() / 2]);
    send(stream, &bytes).await?;
    Ok(Next::Break)
}

async fn drip<S: Socket>(stream: &mut S, response: &Response, pause: Duration) -> io::Result<Next> {
    send(stream, &response.plain_head(false)).await?;
    for byte in &response.body {
        tokio::time::sleep(pause).await;
        send(stream, &[*byte]).await?;
    }
    Ok(Next::Close)
}

async fn chunked<S: Socket>(stream: &mut S, response: &Response, keep_alive: bool) -> io::Result<Next> {
    send(stream, &response.head("Transfer-Encoding: chunked", keep_alive)).await?;
    // A prime number, so that chunks end anywhere in the JSON.
    for part in response.body.chunks(7) {
        send(stream, &chunk(part)).await?;
    }
    send(stream, b"0\r\n\r\n").await?;
    Ok(next(keep_alive))
}

fn chunk(part: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
    chunk.extend_from_slice(part);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

pub(crate) async fn huge<S: Socket>(stream: &mut S, bytes: u64, in_chunks: bool) -> io::Result<Next> {
    const PART: usize = 64 * 1024;
    let head = Response::json(200, "");
    let head = if in_chunks {
        head.head("Transfer-Encoding: chunked", false)
    } else {
        head.head(&format!("Content-Length: {bytes}"), false)
    };
    send(stream, &head).await?;
    let mut part = br#"{"access_token":""#.to_vec();
    part.resize(PART, b'A');
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(PART, |left| left.min(PART));
        if in_chunks {
            send(stream, &chunk(&part[..length])).await?;
        } else {
            send(stream, &part[..length]).await?;
        }
        left -= length as u64;
        part.fill(b'A');
    }
    if in_chunks {
        send(stream, b"0\r\n\r\n").await?;
    }
    Ok(Next::Close)
}
