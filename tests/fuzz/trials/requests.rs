//! Whatever a client writes: whole answers or none, and the connection ends.

use std::cell::RefCell;
use std::future::{Ready, pending};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ecobee_tokend::keeper::{
    AccessToken, Answer, Ask, Moment, PinView, Problem, State, TokenView, View, Want,
};
use ecobee_tokend::metrics::Counts;
use ecobee_tokend::secret::Secret;
use ecobee_tokend::socket::{self, Admission, Asked, Bulletin, Lender, Limits, Peer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

const NOW: Moment = Moment::from_millis(1_000_000);
const TOKEN: &str = "a-token-of-a-trial";
const ACCOUNTS: [&str; 2] = ["home", "locked"];
/// Longer than any deadline of the socket's.
const LONG: Duration = Duration::from_secs(3600);

thread_local! {
    static HOUSE: RefCell<House> = RefCell::new(House::open());
}

struct House {
    runtime: Runtime,
    room: LocalSet,
    path: PathBuf,
    _folder: TempDir,
}

impl House {
    fn open() -> Self {
        let folder = super::folder();
        let path = folder.path().join("socket");
        let (runtime, room) = (super::runtime(), LocalSet::new());
        room.block_on(&runtime, async {
            let bound = socket::bind(&path, 0o600, None).expect("bound");
            let lender = Rc::new(Friend { bulletin: Rc::default(), counts: Rc::new(Counts::new(NOW)) });
            tokio::task::spawn_local(socket::serve(vec![bound], lender, Limits::default(), pending()));
        });
        Self { runtime, room, path, _folder: folder }
    }
}

/// The first byte chooses where what follows is cut in two, if it is, and whether the client says that this was all.
pub(crate) fn meet(bytes: &[u8]) {
    let Some((&choice, said)) = bytes.split_first() else { return };
    let answered = HOUSE.with_borrow_mut(|house| {
        let House { runtime, room, path, .. } = house;
        room.block_on(runtime, converse(path.clone(), choice, said))
    });
    // What a client says is no secret from it: a problem may repeat it.
    let knows = said.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    judge(&answered, knows);
}

async fn converse(path: PathBuf, choice: u8, said: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).await.expect("served");
    let (first, second) = said.split_at(usize::from(choice / 2).min(said.len()));
    let (mut reader, mut writer) = stream.split();
    let mut answered = Vec::new();
    let speak = async {
        for part in [first, second] {
            if writer.write_all(part).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if choice.is_multiple_of(2) {
            let _ = writer.shutdown().await;
        }
    };
    let hear = async {
        let mut some = [0; 4096];
        // A stream of events goes on for as long as its reader does: an hour of it will do.
        while let Ok(Ok(count @ 1..)) = timeout(LONG, reader.read(&mut some)).await {
            answered.extend_from_slice(&some[..count]);
            if answered.len() > 1 << 20 || is_stream(&answered) {
                break;
            }
        }
    };
    tokio::join!(speak, hear);
    answered
}

fn is_stream(answered: &[u8]) -> bool {
    let head = b"content-type: text/event-stream";
    answered.windows(head.len()).any(|window| window == head)
}

/// Each answer has a head and a body of the length it says; only an answer of 200 carries the token.
fn judge(answered: &[u8], knows: bool) {
    if is_stream(answered) {
        return;
    }
    let mut rest = std::str::from_utf8(answered).expect("all that is said is text");
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").expect("a whole head");
        let status: u16 = head.strip_prefix("HTTP/1.1 ").or(head.strip_prefix("HTTP/1.0 ")).expect("HTTP")
            [..3]
            .parse()
            .expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
        // HEAD is answered without the body whose length is said.
        let length = if after.starts_with("HTTP/1.") || after.is_empty() { 0 } else { length };
        assert!(length <= after.len(), "{length} bytes in {answered:?}");
        let (body, next) = after.split_at(length);
        assert!(
            status == 200 || knows || !(head.contains(TOKEN) || body.contains(TOKEN)),
            "{status}: {body}"
        );
        rest = next;
    }
}

/// One account that lends to everyone, one that lends to nobody.
struct Friend {
    bulletin: Rc<Bulletin>,
    counts: Rc<Counts>,
}

impl Lender for Friend {
    type Account = usize;
    type Waiting = Ready<Option<Answer>>;

    fn default_account(&self) -> Option<usize> {
        Some(0)
    }

    fn default_name(&self) -> Option<String> {
        Some(ACCOUNTS[0].to_owned())
    }

    fn account(&self, name: &str) -> Option<usize> {
        ACCOUNTS.iter().position(|known| *known == name)
    }

    fn accounts(&self) -> Vec<(String, usize)> {
        ACCOUNTS.iter().map(|name| (*name).to_owned()).zip(0..).collect()
    }

    fn after(&self, name: Option<&str>) -> Option<(String, usize)> {
        self.accounts().into_iter().find(|(found, _)| name.is_none_or(|name| found.as_str() > name))
    }

    fn bulletin(&self) -> Rc<Bulletin> {
        Rc::clone(&self.bulletin)
    }

    fn counts(&self) -> Rc<Counts> {
        Rc::clone(&self.counts)
    }

    fn may_have(&self, account: usize, _: &Peer, groups: Option<&[u32]>) -> Admission {
        match (account, groups) {
            (0, _) => Admission::Granted,
            (_, None) => Admission::Depends,
            (_, Some(_)) => Admission::Denied,
        }
    }

    async fn groups_of(&self, _: u32) -> Option<Rc<[u32]>> {
        Some(Rc::from([]))
    }

    fn ask(&self, account: usize, ask: Ask) -> Asked<Self::Waiting> {
        assert_eq!(account, 0, "nobody may have the other");
        let token = || Answer::Token {
            access: Rc::new(AccessToken {
                token: Secret::new(TOKEN),
                token_type: "Bearer".to_owned(),
                scope: Some("smartWrite".to_owned()),
            }),
            promised: Duration::from_secs(2400),
        };
        let answer = match ask.want {
            Want::Token { min_ttl, .. } if min_ttl > Duration::from_secs(3000) => {
                Answer::Problem(Problem::MinTtlTooLong { most: Duration::from_secs(3000) })
            }
            Want::Rejected { token: refused, .. } if refused.expose() == TOKEN => {
                let retry_after = Duration::from_secs(30);
                Answer::Problem(Problem::Unavailable { detail: "Not yet.".to_owned(), retry_after })
            }
            Want::Token { .. } | Want::Rejected { .. } | Want::Refresh { .. } => token(),
            Want::Authorize => Answer::Pin(pin()),
        };
        if ask.wait.is_some() {
            return Asked::Later(std::future::ready(Some(answer)));
        }
        Asked::Now(answer)
    }

    fn view(&self, _: usize) -> View {
        View {
            state: State::Authorized,
            token: Some(TokenView {
                issued_at: NOW,
                expires_at: NOW + Duration::from_secs(3600),
                refresh_at: NOW + Duration::from_secs(3000),
            }),
            pin: Some(pin()),
            failures: 0,
            last_error: None,
            trouble_since: None,
            next_try_at: None,
            last_refresh_at: Some(NOW),
            unsaved: false,
        }
    }

    fn now(&self) -> Moment {
        NOW
    }

    fn wall_millis_of(&self, moment: Moment) -> i64 {
        1_763_755_200_000 + moment.as_millis() - NOW.as_millis()
    }
}

fn pin() -> PinView {
    let expires_in = Duration::from_secs(540);
    PinView { pin: "ABCD-EFGH".to_owned(), expires_at: NOW + expires_in, expires_in }
}
