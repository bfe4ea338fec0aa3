//! The listening side: takes connections, reads requests, sends what they get.

use crate::calls::Answer;
use crate::control;
use crate::endpoints::Reply;
use crate::http::{self, Arrival, Request, Response};
use crate::sending::{self, Next, Socket};
use crate::shared::Shared;
use crate::trick::Plan;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// More than any test opens at once, so that none is refused by accident.
const BACKLOG: u32 = 4096;

/// An order to the listening thread.
pub(crate) enum Command {
    /// Refuse connections from now on, and end those that are idle.
    Pause(SyncSender<io::Result<()>>),
    /// Take connections again, at the same port.
    Resume(SyncSender<io::Result<()>>),
    /// End.
    Stop,
}

/// What each connection needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
}

/// Who takes the port while it changes from one socket to the other gives it back within this, or keeps it.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// The port, open or refusing.
enum Door {
    Open(TcpListener),
    /// Bound, not listening and not for reuse: connections are refused and nobody else gets the port.
    Shut(TcpSocket),
    /// The port was lost while it was being shut or opened.
    Lost,
}

impl Door {
    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Shut(_) | Self::Lost => std::future::pending().await,
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

/// Serves until it is told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    context: Context,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    // Each pause raises the number; idle connections end when they see it.
    let pauses = watch::Sender::new(0_u32);
    let mut door = Door::Open(listener);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Pause(done)) => {
                    let result = shut(&mut door, address).await;
                    pauses.send_modify(|pauses| *pauses += 1);
                    let _ = done.send(result);
                }
                Some(Command::Resume(done)) => {
                    let _ = done.send(open(&mut door, address));
                }
                Some(Command::Stop) | None => return,
            },
            accepted = door.accept() => match accepted {
                Ok(stream) => {
                    let connection = connection(stream, acceptor.clone(), context.clone(), pauses.subscribe());
                    tokio::spawn(connection);
                }
                // Out of descriptors, most likely: a connection must close before the next can be taken.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

async fn shut(door: &mut Door, address: SocketAddr) -> io::Result<()> {
    if let Door::Open(_) = door {
        *door = Door::Lost;
        let began = Instant::now();
        // Between the two sockets the port is anybody's: a call that takes it, to elsewhere, soon gives it back.
        let socket = loop {
            match bind(address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < GIVEN_BACK_WITHIN =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                bound => break bound?,
            }
        };
        socket.set_reuseaddr(false)?;
        *door = Door::Shut(socket);
    }
    Ok(())
}

fn open(door: &mut Door, address: SocketAddr) -> io::Result<()> {
    *door = match std::mem::replace(door, Door::Lost) {
        Door::Open(listener) => Door::Open(listener),
        Door::Shut(socket) => {
            // Connections from before the pause may still hold the port.
            socket.set_reuseaddr(true)?;
            Door::Open(socket.listen(BACKLOG)?)
        }
        Door::Lost => Door::Open(listen(address)?),
    };
    Ok(())
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    context: Context,
    pauses: watch::Receiver<u32>,
) {
    let shared = &context.shared;
    shared.change(|state| state.truth.counters.connections += 1);
    // Without it a head and a body would wait for one another's acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // A connection that breaks is the client's affair, and often the very thing under test.
    let _ = match acceptor {
        None => requests(stream, &context, pauses).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => requests(stream, &context, pauses).await,
            Err(error) => {
                shared.change(|state| state.truth.counters.failed_handshakes += 1);
                Err(error)
            }
        },
    };
}

async fn requests<S: Socket>(
    mut stream: S,
    context: &Context,
    mut pauses: watch::Receiver<u32>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let arrival = tokio::select! {
            arrival = http::read(&mut stream, &mut buffer) => arrival?,
            _ = pauses.changed() => return Ok(()),
        };
        let request = match arrival {
            Arrival::Request(request) => request,
            Arrival::Closed => return Ok(()),
            Arrival::Broken(response) => {
                sending::whole(&mut stream, &response, false).await?;
                return sending::close(stream).await;
            }
        };
        let next = if request.path.starts_with("/_control") {
            let response = control::answer(&request, context).await;
            sending::whole(&mut stream, &response, request.keep_alive).await?
        } else {
            call(&mut stream, &request, &context.shared).await?
        };
        match next {
            Next::Request => {}
            Next::Close => return sending::close(stream).await,
            Next::Break => return Ok(()),
        }
    }
}

/// Serves one call to ecobee's endpoints, in the mood that it meets.
async fn call<S: Socket>(stream: &mut S, request: &Request, shared: &Shared) -> io::Result<Next> {
    let arrived = shared.change(|state| state.arrive(request));
    let mood = &arrived.mood;
    tokio::time::sleep(mood.delay_before).await;
    let reply = shared.change(|state| state.decide(request, &arrived));
    tokio::time::sleep(mood.delay_after).await;

    let answered = |status: Option<u16>, answer: Answer| {
        shared.change(|state| state.answered(arrived.id, status, answer));
    };
    match mood.trick.plan() {
        Plan::Truth(manner) => {
            // A trick that shows the true answer has asked for it.
            let reply = reply.unwrap_or_else(Reply::not_found);
            let answer = reply.error.map_or(Answer::Ok, Answer::Error);
            answered(Some(reply.status), answer);
            let response = Response::json(reply.status, reply.body);
            sending::truth(stream, &response, &manner, request.keep_alive).await
        }
        Plan::StandIn(response, answer) => {
            answered(Some(response.status), answer);
            sending::whole(stream, &response, request.keep_alive).await
        }
        Plan::Huge { bytes, chunked } => {
            answered(Some(200), Answer::Strange);
            sending::huge(stream, bytes, chunked).await
        }
        Plan::Drop => {
            answered(None, Answer::Dropped);
            Ok(Next::Break)
        }
        Plan::Reset => {
            answered(None, Answer::Reset);
            sending::reset(stream)
        }
        Plan::Hang => {
            sending::until_closed(stream).await;
            answered(None, Answer::Dropped);
            Ok(Next::Break)
        }
    }
}
