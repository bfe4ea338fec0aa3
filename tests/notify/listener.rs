//! A small HTTP server of the tests' own: it writes down what it is told and answers as it is bid.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use super::harness::PATIENCE;

/// What it is told.
pub(crate) struct Told {
    pub(crate) at: Instant,
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// How it behaves.
#[derive(Clone, Default)]
pub(crate) struct Scene {
    /// Status lines without the version, one a request; 200 when they are used up.
    pub(crate) answers: Vec<String>,
    pub(crate) tls: bool,
    /// It never answers.
    pub(crate) hangs: bool,
    /// Its answers end with their heads, and the connections stay open.
    pub(crate) trails_off: bool,
}

/// The server.
pub(crate) struct Listener {
    address: SocketAddr,
    told: Receiver<Told>,
    authority: Option<TempDir>,
}

/// A port at which nobody listens yet.
pub(crate) struct Reserved(TcpListener);

/// Anything that can be read and written.
trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

impl Listener {
    pub(crate) fn open(answers: &[&str]) -> Self {
        let answers = answers.iter().map(|&answer| answer.to_owned()).collect();
        Self::open_with(Scene { answers, ..Scene::default() })
    }

    pub(crate) fn open_with(scene: Scene) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("a free port"), scene)
    }

    /// The port is ours, and whoever connects is refused.
    pub(crate) fn reserve() -> Reserved {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Reserved(TcpListener::from(socket))
    }

    fn at(listener: TcpListener, scene: Scene) -> Self {
        let address = listener.local_addr().expect("its address");
        let (sender, told) = channel();
        let (config, authority) = if scene.tls {
            let (config, authority) = identity();
            (Some(config), Some(authority))
        } else {
            (None, None)
        };
        thread::spawn(move || serve(&listener, scene, config.as_ref(), &sender));
        Self { address, told, authority }
    }

    /// Its address, with a secret in it as chat services have one.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/path-hunter2?key=query-hunter2", self.address)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.authority.as_ref().expect("it speaks TLS").path().join("ca.pem")
    }

    /// The next thing that it is told.
    pub(crate) fn next(&self) -> Told {
        self.next_within(PATIENCE)
    }

    /// The next thing that it is told, which may take so long.
    pub(crate) fn next_within(&self, patience: Duration) -> Told {
        self.told.recv_timeout(patience).expect("it is told something in time")
    }

    /// Whether it has been told nothing more so far.
    pub(crate) fn is_silent(&self) -> bool {
        self.told.try_recv().is_err()
    }
}

impl Reserved {
    pub(crate) fn url(&self) -> String {
        format!("http://{}/path-hunter2?key=query-hunter2", self.0.local_addr().expect("its address"))
    }

    pub(crate) fn listen(self) -> Listener {
        rustix::net::listen(&self.0, 16).expect("it listens");
        Listener::at(self.0, Scene::default())
    }
}

fn identity() -> (Arc<ServerConfig>, TempDir) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate with its key");
    (Arc::new(config), folder)
}

fn serve(listener: &TcpListener, scene: Scene, tls: Option<&Arc<ServerConfig>>, told: &Sender<Told>) {
    let mut answers = scene.answers.into_iter();
    let mut kept = Vec::new();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut wire: Box<dyn Wire> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let server = ServerConnection::new(Arc::clone(config)).expect("a server");
                Box::new(StreamOwned::<_, TcpStream>::new(server, stream))
            }
        };
        // Whoever does not believe our certificate says nothing.
        let Some(request) = read(&mut wire) else { continue };
        if told.send(request).is_err() {
            return;
        }
        if scene.hangs {
            kept.push(wire);
            continue;
        }
        let answer = answers.next().unwrap_or_else(|| "200 OK".to_owned());
        let length = if scene.trails_off { 2 } else { 0 };
        let _ = write!(wire, "HTTP/1.1 {answer}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = wire.flush();
        if scene.trails_off {
            kept.push(wire);
        }
    }
}

fn read(wire: &mut Box<dyn Wire>) -> Option<Told> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        wire.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.trim_end().lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    wire.read_exact(&mut body).ok()?;
    Some(Told { at: Instant::now(), line, headers, body: String::from_utf8(body).ok()? })
}
