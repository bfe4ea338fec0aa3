//! The handle: starts the simulator on a thread of its own and talks to it without the network.

use crate::calls::{Call, CallKind};
use crate::deeds::{NotThere, Pin, Which};
use crate::fault::Liveness;
use crate::mood::Mood;
use crate::options::{Options, Tls};
use crate::server::{self, Command, Context};
use crate::shared::Shared;
use crate::tls;
use crate::truth::{Grant, GrantEnd, PinState, Truth};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// A running simulator. Dropping it stops it.
///
/// Its methods are synchronous, may be called from any thread, and neither moods nor pauses touch them.
pub struct Simulator {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    address: SocketAddr,
    scheme_and_host: String,
    ca_pem: Option<String>,
    thread: Option<JoinHandle<()>>,
}

/// Why a simulator did not start.
#[derive(Debug)]
pub enum StartError {
    /// It must not be reachable from other machines: what it gives out looks like credentials.
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The certificate could not be made.
    Certificate(String),
    /// The thread or its runtime could not be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => {
                write!(f, "{address}: not a loopback address; use 127.0.0.1 or [::1]")
            }
            Self::Listen(address, error) => write!(f, "{address}: cannot listen: {error}"),
            Self::Certificate(error) => write!(f, "certificate: {error}"),
            Self::Thread(error) => write!(f, "thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Simulator {
    /// Starts listening; when this returns, connections are taken.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let scheme_and_host = match options.tls {
            Tls::Off => format!("http://{}", host(listen)),
            Tls::Good | Tls::NotYetValid | Tls::Expired | Tls::WrongName => "https://localhost".to_owned(),
        };
        let identity = tls::identity(options.tls).map_err(StartError::Certificate)?;
        let (acceptor, ca_pem) = identity.map(|identity| (identity.acceptor, identity.ca_pem)).unzip();
        let shared = Arc::new(Shared::new(options));
        let (commands, orders) = mpsc::unbounded_channel();
        let context = Context { shared: Arc::clone(&shared), commands: commands.clone() };
        let (ready, started) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("ecobee-simulator".to_owned())
            .spawn(move || run(listen, &ready, acceptor, context, orders))
            .map_err(StartError::Thread)?;
        let address = started.recv().map_err(|error| StartError::Thread(io::Error::other(error)))??;
        Ok(Self { shared, commands, address, scheme_and_host, ca_pem, thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT` with TLS.
    pub fn url(&self) -> String {
        format!("{}:{}", self.scheme_and_host, self.address.port())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that a client must trust, in PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The person enters a PIN; returns how it reads.
    pub fn approve(&self, pin: impl Into<Pin>) -> Result<String, NotThere> {
        self.move_pin(pin.into(), PinState::Approved)
    }

    /// The person says no.
    pub fn deny(&self, pin: impl Into<Pin>) -> Result<String, NotThere> {
        self.move_pin(pin.into(), PinState::Denied)
    }

    /// The PIN's time is over.
    pub fn expire_pin(&self, pin: impl Into<Pin>) -> Result<String, NotThere> {
        self.move_pin(pin.into(), PinState::Expired)
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for this call")]
    fn move_pin(&self, pin: Pin, to: PinState) -> Result<String, NotThere> {
        self.shared.change(|state| state.truth.move_pin(&pin, to))
    }

    /// Gives a grant without a PIN, as if it came from another client; its access token is a JWT unless the options say otherwise.
    pub fn grant(&self, client_id: &str, scope: &str) -> Grant {
        self.shared
            .change(|state| state.truth.new_grant(client_id, scope, Some("jwt"), &state.options).clone())
    }

    /// Ends grants, access and refresh tokens alike; returns how many.
    #[expect(clippy::needless_pass_by_value, reason = "made for this call")]
    pub fn revoke(&self, which: Which) -> usize {
        self.shared.change(|state| state.truth.end_grants(&which, GrantEnd::Revoked))
    }

    /// Ends every grant; returns how many.
    pub fn revoke_all(&self) -> usize {
        self.revoke(Which::All)
    }

    /// The person removes the application from their account: code 16, `invalid_grant`; returns how many grants ended.
    #[expect(clippy::needless_pass_by_value, reason = "made for this call")]
    pub fn deauthorize(&self, which: Which) -> usize {
        self.shared.change(|state| state.truth.end_grants(&which, GrantEnd::Deauthorized))
    }

    /// ecobee withdraws an API key: code 2, `invalid_client`.
    pub fn revoke_application(&self, client_id: impl Into<String>) {
        let client_id = client_id.into();
        self.shared.change(|state| state.truth.revoked_applications.insert(client_id));
    }

    /// ecobee takes the withdrawal of an API key back.
    pub fn restore_application(&self, client_id: &str) {
        self.shared.change(|state| state.truth.revoked_applications.remove(client_id));
    }

    /// Ends access tokens now (code 14) and leaves refresh tokens; returns how many were alive.
    #[expect(clippy::needless_pass_by_value, reason = "made for this call")]
    pub fn expire_access(&self, which: Which) -> usize {
        self.shared.change(|state| state.truth.expire_access(&which))
    }

    /// Ends one refresh token and nothing else.
    pub fn revoke_refresh_token(&self, refresh_token: &str) -> Result<(), NotThere> {
        self.shared.change(|state| state.truth.revoke_refresh_token(refresh_token))
    }

    /// Adds a mood behind those that are there.
    pub fn add_mood(&self, mood: impl Into<Mood>) {
        let mood = mood.into();
        self.shared.change(|state| state.moods.push(mood));
    }

    /// The moods that still wait for calls.
    pub fn moods(&self) -> Vec<Mood> {
        self.shared.look(|state| state.moods.clone())
    }

    /// Forgets all moods. A call that is already being served keeps its own.
    pub fn clear_moods(&self) {
        self.shared.change(|state| state.moods.clear());
    }

    /// The log of calls, oldest first, those that are not answered yet among them.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.look(|state| state.calls.clone())
    }

    /// The calls of one kind.
    pub fn calls_of(&self, kind: CallKind) -> Vec<Call> {
        self.shared.look(|state| {
            let calls = state.calls.iter().filter(|call| call.kind == kind);
            calls.cloned().collect()
        })
    }

    /// Forgets the log.
    pub fn clear_calls(&self) {
        self.shared.change(|state| state.calls.clear());
    }

    /// What is alive and what is not, now.
    pub fn truth(&self) -> Truth {
        self.shared.look(|state| state.truth.clone())
    }

    /// What the API would say to this bearer token, now.
    pub fn is_alive(&self, access_token: &str) -> Liveness {
        self.shared.look(|state| state.truth.liveness(access_token))
    }

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.look(|state| state.options.clone())
    }

    /// Changes options. What has been issued keeps its lifetime; `listen` and `tls` have no effect any more.
    ///
    /// The closure must not call the simulator: it runs while the truth is held still.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) {
        self.shared.change(|state| change(&mut state.options));
    }

    /// Waits until the condition holds, looking at each change; whether it held within the limit.
    ///
    /// The condition must not call the simulator: it runs while the truth is held still.
    pub fn wait_for(&self, limit: Duration, mut condition: impl FnMut(&Truth, &[Call]) -> bool) -> bool {
        self.shared.wait_for(limit, |state| condition(&state.truth, &state.calls))
    }

    /// Refuses connections and ends idle ones, keeping the port; calls that are being served are finished.
    pub fn pause(&self) -> io::Result<()> {
        self.command(Command::Pause)
    }

    /// Takes connections again.
    pub fn resume(&self) -> io::Result<()> {
        self.command(Command::Resume)
    }

    fn command(&self, command: fn(SyncSender<io::Result<()>>) -> Command) -> io::Result<()> {
        let (done, result) = sync_channel(1);
        let gone = || io::Error::other("the simulator's thread has ended");
        self.commands.send(command(done)).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Both fail only if the thread has already ended.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulator({})", self.url())
    }
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// The thread: a runtime of its own, so that callers need none and may have any.
fn run(
    listen: SocketAddr,
    ready: &SyncSender<Result<SocketAddr, StartError>>,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    context: Context,
    orders: mpsc::UnboundedReceiver<Command>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        let listening = server::listen(listen).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        match listening {
            Ok((listener, address)) => {
                let _ = ready.send(Ok(address));
                server::serve(listener, address, acceptor, context, orders).await;
            }
            Err(error) => {
                let _ = ready.send(Err(StartError::Listen(listen, error)));
            }
        }
    });
}
