//! Whatever ecobee, or whoever sits in its place, sends: one of the outcomes, no secret in words, no token that a header
//! could not carry.

use std::cell::RefCell;
use std::time::Duration;

use ecobee_tokend::dial::{Proxies, Roads};
use ecobee_tokend::ecobee::{Client, Endpoint};
use ecobee_tokend::keeper::Outcome;
use ecobee_tokend::secret::Secret;
use ecobee_tokend::url::BaseUrl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const KEY: &str = "made-up-key-of-a-trial-000000001";
const CODE: &str = "made-up-code-of-a-trial-1";
const REFRESH_TOKEN: &str = "made-up-refresh-token-of-a-trial-1";
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static ECOBEE: RefCell<Ecobee> = RefCell::new(Ecobee::new());
}

struct Ecobee {
    runtime: Runtime,
    listener: TcpListener,
    client: Client,
}

impl Ecobee {
    fn new() -> Self {
        let runtime = super::runtime();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let roads = Roads::new(None, Proxies::of(|_| None).expect("none")).expect("none");
        let url = BaseUrl::parse(&format!("http://127.0.0.1:{port}")).expect("loopback");
        let client = Client::new(Endpoint { url, request_timeout: Duration::from_secs(60), roads });
        Self { runtime, listener, client }
    }
}

/// The first byte chooses the call and whether the rest is a body or the whole answer.
pub(crate) fn meet(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let answer = match choice / 3 % 8 {
        0 => rest.to_vec(),
        choice => framed(choice, rest),
    };
    let outcome = ECOBEE.with_borrow_mut(|ecobee| {
        let Ecobee { runtime, listener, client } = ecobee;
        let (key, code, token) = (Secret::new(KEY), Secret::new(CODE), Secret::new(REFRESH_TOKEN));
        runtime.block_on(async {
            let call = async {
                match choice % 3 {
                    0 => client.authorize(&key, "smartWrite").await,
                    1 => client.poll(&key, &code).await,
                    _ => client.refresh(&key, &token).await,
                }
            };
            let (outcome, ()) = tokio::join!(call, reply(listener, &answer));
            outcome
        })
    });
    judge(&outcome);
}

fn framed(choice: u8, body: &[u8]) -> Vec<u8> {
    let status =
        ["200 OK", "200 OK", "200 OK", "400 Bad Request", "401 Unauthorized", "429 Slow", "503 Busy"]
            [usize::from(choice) % 7];
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn reply(listener: &TcpListener, answer: &[u8]) {
    let (mut stream, _) = listener.accept().await.expect("a call");
    read_head(&mut stream).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    // Until the caller closes, too: no port is left waiting on its side.
    let _ = stream.read(&mut [0; 64]).await;
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut some = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut some).await {
            Ok(count @ 1..) => head.extend_from_slice(&some[..count]),
            Ok(0) | Err(_) => return,
        }
    }
}

fn judge(outcome: &Outcome) {
    let mut words = Vec::new();
    match outcome {
        Outcome::Granted(granted) => {
            for text in [granted.access.token.expose(), &granted.access.token_type] {
                assert!((1..=64 * 1024).contains(&text.len()));
                assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{text:?}");
            }
            assert!(!granted.lifetime.is_zero() && granted.lifetime <= LONGEST, "{:?}", granted.lifetime);
        }
        Outcome::PinIssued(issued) => super::assert_fit_for_a_person(&issued.pin),
        Outcome::Pending | Outcome::SlowDown => {}
        Outcome::PinOver(why) | Outcome::Refused(why) | Outcome::Misconfigured(why) => words.push(why),
        Outcome::Trouble(trouble) => words.push(&trouble.reason),
    }
    for words in words {
        super::assert_fit_for_a_person(words);
        assert!(words.len() <= 4096, "{} bytes are no sentence", words.len());
        for secret in [KEY, CODE, REFRESH_TOKEN] {
            assert!(!words.contains(secret), "{words}");
        }
    }
}
