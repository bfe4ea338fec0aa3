//! No secret where none belongs: the whole life of the real daemon with its log wide open, and a search through all that
//! it, its client and its children have said, and through what the kernel tells of them.

mod harness;
#[path = "leaks/journal.rs"]
mod journal;
#[path = "leaks/life.rs"]
mod life;
#[allow(dead_code, reason = "each test file uses what it needs of it")]
#[path = "notify/listener.rs"]
mod listener;
#[path = "leaks/search.rs"]
mod search;

use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ecobee_tokend::keeper::{
    AccessToken, Action, Answer, Ask, CallId, Event, Granted, IssuedPin, Moment, Outcome, Reach, Record,
    RequestId, SaveId, StoredAccess, StoredGrant, StoredPin, Trouble, Want,
};
use ecobee_tokend::secret::Secret;
use harness::{HOUR, Stage, skipped};
use journal::Journal;
use life::{Life, Log};

#[test]
fn a_life_logged_as_text_leaks_nothing() {
    Life::begin(Log::Text).live();
}

#[test]
fn a_life_logged_as_json_leaks_nothing() {
    Life::begin(Log::Json).live();
}

#[test]
fn a_life_logged_to_the_journal_leaks_nothing() {
    match Journal::open() {
        Some(journal) => Life::begin(Log::Journal(journal)).live(),
        None => skipped("this user cannot make a mount namespace for a journal of its own"),
    }
}

/// `core_dumped` is the kernel's own word, wherever a core would have gone.
#[test]
fn a_crash_leaves_no_core() {
    let stage = Stage::with_lifetime(HOUR);
    let without_end = ["prlimit", "--core=unlimited:unlimited"];
    let possible = Command::new(without_end[0])
        .args(&without_end[1..])
        .args(["sh", "-c", "kill -ABRT $$"])
        .current_dir(stage.folder.path())
        .status();
    if !possible.is_ok_and(|status| status.core_dumped()) {
        skipped("no crash leaves a core here, so that none of ours is no proof");
        return;
    }
    let launched = stage.launch_with(&without_end, |command| {
        command.current_dir(stage.folder.path());
    });
    let daemon = launched.ready();
    daemon.enter_pin(&stage.simulator, "home", harness::KEY);
    daemon.signal("ABRT");
    let (status, _) = daemon.ended();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped(), "a core with the tokens in it");
}

/// What stands in a panic's message is what `Debug` shows: of everything that the rooms hand to one another.
#[test]
fn a_panic_that_shows_what_it_has_in_hand_shows_no_secret() {
    const MARK: &str = "mark-of-a-secret";
    let secret = || Secret::new(MARK);
    let token = || Rc::new(AccessToken { token: secret(), token_type: "Bearer".to_owned(), scope: None });
    let at = Moment::from_millis(0);
    let granted = || Granted {
        access: AccessToken { token: secret(), token_type: "Bearer".to_owned(), scope: None },
        lifetime: Duration::ZERO,
        refresh_token: Some(secret()),
    };
    let record = || Record {
        grant: Some(StoredGrant {
            access: Some(StoredAccess { token: token(), issued_at: at, expires_at: at, refresh_at: at }),
            refresh_token: secret(),
            previous: Some(secret()),
            refusals: 0,
            refresh_sent: false,
            disbelieved: false,
        }),
        pin: Some(StoredPin { pin: String::new(), code: secret(), expires_at: at, interval: Duration::ZERO }),
        ..Record::default()
    };
    let trouble =
        Trouble { reason: String::new(), reach: Reach::Granted, retry_after: None, rotated: Some(secret()) };
    let ask = Ask { want: Want::Rejected { token: secret(), min_ttl: Duration::ZERO }, wait: None, uid: 0 };
    let issued =
        IssuedPin { pin: String::new(), code: secret(), lifetime: Duration::ZERO, interval: Duration::ZERO };
    let in_hand: [Box<dyn std::fmt::Debug>; 9] = [
        Box::new(Outcome::Granted(granted())),
        Box::new(Outcome::PinIssued(issued)),
        Box::new(Outcome::Trouble(trouble)),
        Box::new(Event::Replied { call: CallId(1), sent_at: at, outcome: Outcome::Granted(granted()) }),
        Box::new(Event::Asked(RequestId(1), ask)),
        Box::new(Action::SendPoll { call: CallId(1), code: secret() }),
        Box::new(Action::SendRefresh { call: CallId(1), refresh_token: secret() }),
        Box::new(Action::Persist { save: SaveId(1), record: Box::new(record()) }),
        Box::new(Answer::Token { access: token(), promised: Duration::ZERO }),
    ];
    for thing in in_hand {
        let shown =
            panic::catch_unwind(panic::AssertUnwindSafe(|| panic!("what is this? {thing:?} {thing:#?}")));
        let shown = shown.expect_err("it panics").downcast::<String>().expect("a sentence");
        assert!(shown.contains("[secret]") && !shown.contains(MARK), "{shown}");
    }
}
