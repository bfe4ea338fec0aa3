//! The words in which the keeper is spoken to and answers.

use std::rc::Rc;
use std::time::Duration;

use super::Moment;
use crate::secret::Secret;

/// The number of a call to ecobee; its reply carries the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// The number of an order to save; the report of it carries the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaveId(pub u64);

/// The number of a client's request; its answer carries the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Event {
    /// The daemon has started and the stored record, if any, was given to the keeper.
    Started,
    /// Time has passed. Harmless at any moment.
    Ticked,
    /// A local client asks.
    Asked(RequestId, Ask),
    /// A client that waited is gone.
    HungUp(RequestId),
    /// A call has come to its end, timeouts included. `sent_at` is when its request was sent.
    Replied { call: CallId, sent_at: Moment, outcome: Outcome },
    /// A save has come to its end; `Err` carries the reason in words for a person.
    Saved(SaveId, Result<(), String>),
    /// The administrator wants a refresh now (SIGUSR1).
    RefreshWanted,
    /// The settings were reloaded.
    PolicyChanged(Rc<super::Policy>),
    /// The daemon is about to leave: begin nothing new.
    Stopping,
    /// It stays after all.
    Resumed,
}

/// What is to be done, in this order.
#[derive(Debug)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Action {
    /// Ask ecobee for a PIN.
    SendAuthorize { call: CallId },
    /// Ask ecobee whether the PIN has been entered.
    SendPoll { call: CallId, code: Secret },
    /// Trade the refresh token for a new access token.
    SendRefresh { call: CallId, refresh_token: Secret },
    /// Put this on disk.
    Persist { save: SaveId, record: Box<Record> },
    /// Answer a client.
    Answer(RequestId, Answer),
    /// Something an operator's diary should hold.
    Tell(News),
    /// Something a person should be told of wherever they are.
    Notify(Notice),
    /// Step again at this moment, whatever happens before. The last of every step; `None`: only an event wakes.
    WakeAt(Option<Moment>),
}

/// A client's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is asked for.
    pub want: Want,
    /// The client's own bound on its waiting (`?wait=`); makes it wait for a person and for ecobee too.
    pub wait: Option<Duration>,
    /// Who asks.
    pub uid: u32,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Want {
    /// A living token, good for at least `min_ttl`; `told`: whether the answer shows how long it is promised.
    Token { min_ttl: Duration, told: Told },
    /// A token newer than the present one.
    Refresh { min_ttl: Duration },
    /// A token other than this one, which ecobee refused.
    Rejected { token: Secret, min_ttl: Duration },
    /// A new PIN.
    Authorize,
}

/// Whether a client sees the promise that its token carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The bare token: it is promised for a few seconds.
    TokenOnly,
    /// The token with `expires_in`: all of that is promised.
    Lifetime,
}

/// What a client gets.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Answer {
    /// A token, and how long the daemon will leave it alone.
    Token { access: Rc<AccessToken>, promised: Duration },
    /// The PIN that was asked for.
    Pin(PinView),
    /// Why not, and what now.
    Problem(Problem),
}

/// Why a client gets no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Problem {
    /// A person must enter this PIN; look again after so long.
    AuthorizationRequired { pin: PinView, retry_after: Duration },
    /// No token just now; look again after so long.
    Unavailable { detail: String, retry_after: Duration },
    /// No token of this account is ever good for so long; `most` is.
    MinTtlTooLong { most: Duration },
    /// The budget of forced calls is used up; look again after so long.
    TooMany { retry_after: Duration },
}

/// An access token as ecobee gave it, ready to be lent.
#[derive(Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The bearer token.
    pub token: Secret,
    /// What stands before it in the `Authorization` header, as ecobee wrote it.
    pub token_type: String,
    /// What it may do, where ecobee said so.
    pub scope: Option<String>,
}

/// What came of a call to ecobee.
#[derive(Debug)]
pub enum Outcome {
    /// New tokens.
    Granted(Granted),
    /// A PIN for a person to enter.
    PinIssued(IssuedPin),
    /// The person has not entered the PIN yet.
    Pending,
    /// Not yet, and the polls come too fast.
    SlowDown,
    /// This PIN will never work again; the words are ecobee's.
    PinOver(String),
    /// ecobee refuses this refresh token; the words are ecobee's.
    Refused(String),
    /// Our request or configuration is wrong; the words are ecobee's.
    Misconfigured(String),
    /// Trouble of the moment.
    Trouble(Trouble),
}

/// New tokens, checked and in our units.
#[derive(Debug)]
pub struct Granted {
    /// The new access token.
    pub access: AccessToken,
    /// How long it lives from the sending of the request.
    pub lifetime: Duration,
    /// The refresh token, where the answer had one.
    pub refresh_token: Option<Secret>,
}

/// A PIN fresh from ecobee.
#[derive(Debug)]
pub struct IssuedPin {
    /// What the person enters, as it came.
    pub pin: String,
    /// What the polls show.
    pub code: Secret,
    /// How long the PIN works.
    pub lifetime: Duration,
    /// The least time between two polls.
    pub interval: Duration,
}

/// A call that came to nothing for reasons that pass.
#[derive(Debug)]
pub struct Trouble {
    /// What went wrong, in words for a person, without secrets.
    pub reason: String,
    /// How far the request got.
    pub reach: Reach,
    /// ecobee's own wish for when to come back.
    pub retry_after: Option<Duration>,
    /// A refresh token that came with an unusable access token.
    pub rotated: Option<Secret>,
}

impl Trouble {
    /// Whether ecobee gave new tokens, so that the access token before them is dead.
    pub(super) fn replaces_tokens(&self) -> bool {
        self.reach == Reach::Granted || self.rotated.is_some()
    }

    /// How long ecobee is to be left alone: what it wished for, within reason.
    pub(super) fn held(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(3600);
        self.retry_after.unwrap_or_default().min(LONGEST)
    }
}

/// How far a failed request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It was certainly not sent: no route, no TLS, no connection.
    Unsent,
    /// It was sent, and the connection broke before the answer was whole.
    Broken,
    /// It was sent, and no usable answer came.
    Sent,
    /// ecobee gave new tokens that cannot be used: the access token before them is dead.
    Granted,
}

/// What is kept on disk of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The grant, if there is one.
    pub grant: Option<StoredGrant>,
    /// The PIN that waits to be entered, if there is one.
    pub pin: Option<StoredPin>,
    /// What people have been told and not yet heard the end of.
    pub told: Tidings,
}

/// What people have been told wherever they are. A restart tells none of it twice, and tells the end of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidings {
    /// When they were last told that a PIN waits.
    pub pin_at: Option<Moment>,
    /// When they were told that there is no living token.
    pub loss_at: Option<Moment>,
}

impl Tidings {
    /// Whether there is anything to take back.
    pub(super) fn is_anything(&self) -> bool {
        self.pin_at.is_some() || self.loss_at.is_some()
    }
}

/// A grant as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGrant {
    /// The access token with its times; absent where it was dead or in doubt.
    pub access: Option<StoredAccess>,
    /// The refresh token.
    pub refresh_token: Secret,
    /// The one before it, until its successor has been used with success.
    pub previous: Option<Secret>,
    /// How many times in a row ecobee has refused the refresh token.
    pub refusals: u32,
    /// A refresh was sent and its answer is not in this record: the access token may be dead.
    pub refresh_sent: bool,
    /// The file has an access token that this start does not believe, for its clock may be wrong; a later one may.
    pub disbelieved: bool,
}

/// An access token as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccess {
    /// The token.
    pub token: Rc<AccessToken>,
    /// When its request was sent.
    pub issued_at: Moment,
    /// When it dies.
    pub expires_at: Moment,
    /// When it is to be refreshed: promises were made up to here.
    pub refresh_at: Moment,
}

/// A PIN as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPin {
    /// What the person enters.
    pub pin: String,
    /// What the polls show.
    pub code: Secret,
    /// When it stops working.
    pub expires_at: Moment,
    /// The least time between two polls.
    pub interval: Duration,
}

/// The states that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// ecobee is being asked for a PIN.
    RequestingPin,
    /// A PIN waits for a person to enter it.
    AwaitingUser,
    /// The grant lives.
    Authorized,
    /// A refresh is on its way.
    Refreshing,
    /// The last refresh failed; it is tried again.
    Retrying,
}

impl State {
    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestingPin => "requesting-pin",
            Self::AwaitingUser => "awaiting-user",
            Self::Authorized => "authorized",
            Self::Refreshing => "refreshing",
            Self::Retrying => "retrying",
        }
    }
}

/// All that anyone may know of an account. No secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it stands.
    pub state: State,
    /// The access token's times, while it lives.
    pub token: Option<TokenView>,
    /// The PIN on show.
    pub pin: Option<PinView>,
    /// Failed calls in a row.
    pub failures: u32,
    /// The last failure in words, until a call succeeds.
    pub last_error: Option<String>,
    /// When the trouble began, while there is any.
    pub trouble_since: Option<Moment>,
    /// When what failed is tried again, unless somebody forces it before.
    pub next_try_at: Option<Moment>,
    /// When the present access token was asked for.
    pub last_refresh_at: Option<Moment>,
    /// Whether the newest record could not be saved so far.
    pub unsaved: bool,
}

/// When a living access token was issued, dies, and will be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// When its request was sent.
    pub issued_at: Moment,
    /// When it dies.
    pub expires_at: Moment,
    /// When the daemon will next refresh of its own accord.
    pub refresh_at: Moment,
}

/// A PIN on show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinView {
    /// What the person enters, as ecobee gave it.
    pub pin: String,
    /// When it stops working.
    pub expires_at: Moment,
    /// How long that is from now.
    pub expires_in: Duration,
}

/// What the diary holds: each written down once, where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum News {
    /// A PIN waits to be entered.
    PinShown(PinView),
    /// The PIN ended unused.
    PinOver(String),
    /// The stored or retried grant works: nobody needs to enter the PIN.
    PinCalledOff,
    /// A person entered the PIN: the account has a grant.
    Authorized { expires_at: Moment },
    /// The access token was renewed.
    Renewed { expires_at: Moment },
    /// The first failure of a series.
    TroubleBegan(String),
    /// One more of the same series.
    TroubleGoesOn { failures: u32, reason: String },
    /// The series is over.
    TroubleEnded { after: Duration },
    /// ecobee refused the refresh token.
    Refused { times: u32, reason: String },
    /// The refresh token counts as dead: a person is needed.
    GivenUp { refusals: u32 },
    /// ecobee says that our request or configuration is wrong.
    Misconfigured(String),
    /// A client reported the current token as rejected.
    Rejected { uid: u32 },
    /// The access token died and there is no other.
    TokenDied,
    /// The record could not be saved, and holds tokens or a PIN that the disk has not.
    SaveFailed(String),
    /// The record could not be saved, but it differs from the disk's in notes only, such as the mark before a refresh.
    NoteNotSaved(String),
    /// The record is saved at last.
    SaveRecovered,
}

/// What a person is told wherever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence says what its fields are")]
pub enum Notice {
    /// A PIN waits to be entered.
    PinWaiting(PinView),
    /// It still waits.
    PinReminder(PinView),
    /// There is no living token, and trouble that lasts is why.
    TokenLost { reason: String },
    /// There is a living token again.
    TokenBack,
}

/// Which of ecobee's three calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A PIN is asked for.
    Authorize,
    /// It is asked whether the PIN has been entered.
    Poll,
    /// The refresh token is traded for a new access token.
    Refresh,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Authorize, Self::Poll, Self::Refresh];

    /// As users see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Poll => "poll",
            Self::Refresh => "refresh",
        }
    }
}

/// Where a person enters a PIN, as people are told everywhere.
pub const ENTER_AT: &str = "ecobee.com, My Apps";
