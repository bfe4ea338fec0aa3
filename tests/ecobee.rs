//! The three calls against a server of a few lines that says whatever a test wants, byte by byte; then by TLS, and
//! through a proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ecobee_tokend::dial::{Proxies, Roads};
use ecobee_tokend::ecobee::{Client, Endpoint};
use ecobee_tokend::keeper::{Outcome, Reach, Trouble};
use ecobee_tokend::secret::Secret;
use ecobee_tokend::url::BaseUrl;

#[path = "ecobee/asked.rs"]
mod asked;
#[path = "ecobee/meanings.rs"]
mod meanings;
#[path = "ecobee/proxy.rs"]
mod proxy;
#[path = "ecobee/reach.rs"]
mod reach;
#[path = "ecobee/secrets.rs"]
mod secrets;
#[path = "ecobee/tls.rs"]
mod tls;

const KEY: &str = "the-api-key";
const TOKEN: &str = "v1.og2O/bost3+ucRo1=ofo0 ED&o%é";
const ENCODED: &str = "v1.og2O%2Fbost3%2BucRo1%3Dofo0%20ED%26o%25%C3%A9";
/// No test that passes waits so long.
const AMPLE: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_millis(300);

/// An ecobee that does as it is told.
struct Ecobee {
    address: SocketAddr,
    heard: Receiver<String>,
}

impl Ecobee {
    /// `talk` gets each connection with the head of its request, already read.
    fn that(mut talk: impl FnMut(TcpStream, &str) -> io::Result<()> + Send + 'static) -> Self {
        let (tell, heard) = channel();
        let address = serve(move |mut connection| {
            let request = read_head(&mut connection);
            // A client that hung up and a test that has ended are no concern of the server.
            let _ = talk(connection, &request);
            let _ = tell.send(request);
        });
        Self { address, heard }
    }

    /// Says these bytes to everyone, then closes.
    fn says(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::that(move |mut connection, _| connection.write_all(&answer))
    }

    fn client(&self) -> Client {
        client(&format!("http://{}", self.address), AMPLE)
    }

    fn impatient_client(&self) -> Client {
        client(&format!("http://{}", self.address), BRIEF)
    }

    fn heard(&self) -> String {
        self.heard.recv_timeout(AMPLE).expect("a request")
    }
}

/// Gives each connection to `talk`, one after the other.
fn serve(mut talk: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for connection in listener.incoming() {
            talk(connection.expect("a connection"));
        }
    });
    address
}

/// All up to the empty line, or to the end.
fn read_head(connection: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(connection.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Holds the connection until the client leaves it.
fn hold(mut connection: TcpStream) -> io::Result<()> {
    while connection.read(&mut [0])? > 0 {}
    Ok(())
}

fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn client(url: &str, request_timeout: Duration) -> Client {
    let endpoint = Endpoint {
        url: BaseUrl::parse(url).expect("a good address"),
        request_timeout,
        roads: Roads::new(None, Proxies::none()).expect("no file to read"),
    };
    Client::new(endpoint)
}

async fn authorize(client: &Client) -> Outcome {
    client.authorize(&Secret::new(KEY), "smartWrite").await
}

async fn poll(client: &Client) -> Outcome {
    client.poll(&Secret::new(KEY), &Secret::new(TOKEN)).await
}

async fn refresh(client: &Client) -> Outcome {
    client.refresh(&Secret::new(KEY), &Secret::new(TOKEN)).await
}

fn trouble(outcome: Outcome) -> Trouble {
    let Outcome::Trouble(trouble) = outcome else {
        panic!("no trouble but {outcome:?}");
    };
    trouble
}

/// A wrong direction of [`Reach`] costs a token, so the words are compared with it.
fn assert_trouble(outcome: Outcome, reach: Reach, words: &str) {
    let trouble = trouble(outcome);
    assert!(trouble.reason.contains(words), "{:?} has no {words:?}", trouble.reason);
    assert_eq!(trouble.reach, reach, "{}", trouble.reason);
}
