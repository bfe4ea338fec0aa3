//! A pretend ecobee with a truth of its own: which tokens and PINs it knows, and which of them it takes.

use std::collections::VecDeque;
use std::time::Duration;

use ecobee_tokend::keeper::{AccessToken, Granted, IssuedPin, Moment, Outcome, Reach, Trouble};
use ecobee_tokend::secret::Secret;

use super::dice::Dice;
use super::secs;
use super::tally::{Fault, Tally};

/// What becomes of a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// A new one comes, and the old one works on.
    Reuse,
    /// The same one comes back.
    Same,
    /// None comes back, and the old one works on.
    Absent,
    /// A new one comes, and the old one is dead at once.
    Strict,
    /// A new one comes, and the old one works for so long yet.
    Leeway(Duration),
    /// A new one comes; whoever shows the old one ends the whole family.
    ReuseDetection,
}

impl Rotation {
    /// One of each kind.
    pub(crate) const ALL: [Self; 6] = [
        Self::Reuse,
        Self::Same,
        Self::Absent,
        Self::Strict,
        Self::Leeway(Duration::from_secs(30)),
        Self::ReuseDetection,
    ];
}

/// The three calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// For a PIN.
    Authorize,
    /// For whether the PIN was entered.
    Poll,
    /// For new tokens.
    Refresh,
}

/// A call with what it shows.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Authorize,
    Poll { code: String },
    Refresh { token: String },
}

impl Request {
    pub(crate) fn errand(&self) -> Errand {
        match self {
            Self::Authorize => Errand::Authorize,
            Self::Poll { .. } => Errand::Poll,
            Self::Refresh { .. } => Errand::Refresh,
        }
    }

    /// The code or token that it shows.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Authorize => "",
            Self::Poll { code } => code,
            Self::Refresh { token } => token,
        }
    }
}

/// What befalls one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Nothing.
    None,
    /// It never leaves the house.
    Unsent,
    /// It is lost on the way there: ecobee does nothing.
    LostBefore(Reach),
    /// ecobee does its work, and the answer is lost.
    LostAfter(Reach),
    /// ecobee does its work and takes so long to say so.
    Late(Duration),
    /// ecobee does nothing and says something else.
    Says(Word),
    /// ecobee does its work, and the access token that it gives is unusable.
    Garbled,
}

impl Mishap {
    /// Something that befalls a call of this kind, as the dice fall.
    pub(crate) fn thrown(dice: &mut Dice, errand: Errand) -> Self {
        const REACHES: [Reach; 2] = [Reach::Broken, Reach::Sent];
        match dice.below(16) {
            0 | 1 => Self::Unsent,
            2 | 3 => Self::LostBefore(dice.one_of(&REACHES)),
            4 | 5 => Self::LostAfter(dice.one_of(&REACHES)),
            6 | 7 => Self::Late(dice.length(secs(90)).max(secs(1))),
            8 => Self::Garbled,
            _ => Self::Says(Word::thrown(dice, errand)),
        }
    }
}

/// What ecobee may say in place of doing its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Refused,
    Misconfigured,
    Pending,
    SlowDown,
    PinOver,
    TooMany(Option<Duration>),
}

impl Word {
    /// What it may say to a call of this kind, and now and then a word out of place.
    fn thrown(dice: &mut Dice, errand: Errand) -> Self {
        let words: &[Self] = match errand {
            Errand::Authorize => &[
                Self::Refused,
                Self::Misconfigured,
                Self::TooMany(None),
                Self::TooMany(Some(secs(900))),
                Self::Pending,
            ],
            Errand::Poll => &[
                Self::SlowDown,
                Self::SlowDown,
                Self::PinOver,
                Self::TooMany(None),
                Self::TooMany(Some(secs(600))),
                Self::Misconfigured,
                Self::Refused,
            ],
            Errand::Refresh => &[
                Self::Refused,
                Self::Refused,
                Self::Refused,
                Self::Misconfigured,
                Self::TooMany(None),
                Self::TooMany(Some(secs(60))),
                Self::TooMany(Some(secs(7200))),
                Self::SlowDown,
            ],
        };
        dice.one_of(words)
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Refused => Outcome::Refused("invalid_grant".to_owned()),
            Self::Misconfigured => Outcome::Misconfigured("invalid_scope".to_owned()),
            Self::Pending => Outcome::Pending,
            Self::SlowDown => Outcome::SlowDown,
            Self::PinOver => Outcome::PinOver("authorization_expired".to_owned()),
            Self::TooMany(retry_after) => Outcome::Trouble(Trouble {
                reason: "429 Too Many Requests".to_owned(),
                reach: Reach::Sent,
                retry_after,
                rotated: None,
            }),
        }
    }
}

/// Trouble of the moment.
pub(crate) fn trouble(reach: Reach) -> Outcome {
    let reason = match reach {
        Reach::Unsent => "no route to ecobee",
        Reach::Broken => "the connection broke",
        Reach::Sent => "ecobee answered 503",
        Reach::Granted => "ecobee gave tokens that cannot be used",
    };
    Outcome::Trouble(Trouble { reason: reason.to_owned(), reach, retry_after: None, rotated: None })
}

/// What an arrived call led to.
pub(crate) struct Arrival {
    /// What ecobee answers, unless that is lost.
    pub(crate) outcome: Outcome,
    /// The access token that died of it.
    pub(crate) killed: Option<String>,
}

/// One authorization by a person, and the tokens that came of it.
#[derive(Debug)]
struct Family {
    access: Option<(String, Moment)>,
    refresh: VecDeque<(String, Option<Moment>)>,
}

#[derive(Debug)]
struct Pin {
    shown: String,
    code: String,
    expires_at: Moment,
    entered: bool,
    spent: bool,
}

/// Chooses a mishap for each call.
pub(crate) type Weather = Box<dyn FnMut(Errand) -> Mishap>;

/// The pretend ecobee.
pub(crate) struct Ecobee {
    /// What it does with used refresh tokens.
    pub(crate) rotation: Rotation,
    /// How long its access tokens live.
    pub(crate) lifetime: Duration,
    /// How long its PINs live.
    pub(crate) pin_lifetime: Duration,
    /// The least time between two polls.
    pub(crate) interval: Duration,
    /// How long a call takes, there and back.
    pub(crate) latency: Duration,
    /// Whether it gives a refresh token for an entered PIN.
    pub(crate) refreshable: bool,
    /// Until then it refuses every refresh token.
    pub(crate) quarantine_until: Moment,
    /// What befalls every call until then.
    outage: Option<(Moment, Mishap)>,
    /// What befalls the next calls.
    mishaps: VecDeque<(Errand, Mishap)>,
    /// What befalls all others.
    weather: Option<Weather>,
    families: Vec<Family>,
    pins: VecDeque<Pin>,
    minted: u64,
    /// The last access tokens that died of no call.
    surprises: VecDeque<String>,
}

impl Default for Ecobee {
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            lifetime: Duration::from_secs(3600),
            pin_lifetime: Duration::from_secs(540),
            interval: Duration::from_secs(30),
            latency: Duration::from_millis(400),
            refreshable: true,
            quarantine_until: Moment::default(),
            outage: None,
            mishaps: VecDeque::new(),
            weather: None,
            families: Vec::new(),
            pins: VecDeque::new(),
            minted: 0,
            surprises: VecDeque::new(),
        }
    }
}

/// More than the keeper ever holds; older ones are forgotten, so that decades fit into memory.
const REMEMBERED: usize = 6;

impl Ecobee {
    /// The next call of this kind meets with this; more of them queue up.
    pub(crate) fn next(&mut self, errand: Errand, mishap: Mishap) {
        self.mishaps.push_back((errand, mishap));
    }

    /// The next so many refreshes meet with this.
    pub(crate) fn next_refreshes(&mut self, times: usize, mishap: Mishap) {
        self.mishaps.extend(std::iter::repeat_n((Errand::Refresh, mishap), times));
    }

    /// Every call until then meets with this.
    pub(crate) fn outage(&mut self, until: Moment, mishap: Mishap) {
        self.outage = Some((until, mishap));
    }

    /// Chooses a mishap for every call that nothing else befalls.
    pub(crate) fn weather(&mut self, weather: Weather) {
        self.weather = Some(weather);
    }

    /// What befalls a call that is sent now.
    pub(crate) fn fate(&mut self, now: Moment, errand: Errand) -> Mishap {
        if let Some((until, mishap)) = self.outage
            && now < until
        {
            return mishap;
        }
        if let Some(found) = self.mishaps.iter().position(|(of, _)| *of == errand) {
            return self.mishaps.remove(found).map_or(Mishap::None, |(_, mishap)| mishap);
        }
        self.weather.as_mut().map_or(Mishap::None, |weather| weather(errand))
    }

    /// A call reaches ecobee.
    pub(crate) fn arrive(
        &mut self,
        now: Moment,
        request: &Request,
        mishap: Mishap,
        tally: &mut Tally,
    ) -> Arrival {
        match mishap {
            Mishap::Unsent => Arrival { outcome: trouble(Reach::Unsent), killed: None },
            Mishap::LostBefore(reach) => Arrival { outcome: trouble(reach), killed: None },
            Mishap::Says(word) => Arrival { outcome: word.outcome(), killed: None },
            Mishap::None | Mishap::Late(_) => self.work(now, request, tally),
            Mishap::LostAfter(reach) => Arrival { outcome: trouble(reach), ..self.work(now, request, tally) },
            Mishap::Garbled => {
                let Arrival { outcome, killed } = self.work(now, request, tally);
                let outcome = match outcome {
                    Outcome::Granted(granted) => Outcome::Trouble(Trouble {
                        reason: "the access token is not one".to_owned(),
                        reach: Reach::Granted,
                        retry_after: None,
                        rotated: granted.refresh_token,
                    }),
                    Outcome::PinIssued(_)
                    | Outcome::Pending
                    | Outcome::SlowDown
                    | Outcome::PinOver(_)
                    | Outcome::Refused(_)
                    | Outcome::Misconfigured(_)
                    | Outcome::Trouble(_) => trouble(Reach::Sent),
                };
                Arrival { outcome, killed }
            }
        }
    }

    fn work(&mut self, now: Moment, request: &Request, tally: &mut Tally) -> Arrival {
        let outcome = match request {
            Request::Authorize => self.issue_pin(now),
            Request::Poll { code } => self.answer_poll(now, code),
            Request::Refresh { token } => return self.refresh(now, token, tally),
        };
        Arrival { outcome, killed: None }
    }

    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        format!("{kind}-{}", self.minted)
    }

    fn issue_pin(&mut self, now: Moment) -> Outcome {
        let (pin, code) = (self.mint("PIN"), self.mint("code"));
        let (lifetime, interval) = (self.pin_lifetime, self.interval);
        self.pins.push_back(Pin {
            shown: pin.clone(),
            code: code.clone(),
            expires_at: now + lifetime,
            entered: false,
            spent: false,
        });
        if self.pins.len() > REMEMBERED {
            self.pins.pop_front();
        }
        Outcome::PinIssued(IssuedPin { pin, code: Secret::new(code), lifetime, interval })
    }

    fn answer_poll(&mut self, now: Moment, code: &str) -> Outcome {
        let Some(pin) = self.pins.iter_mut().find(|pin| pin.code == code && !pin.spent) else {
            return Outcome::PinOver("invalid_grant".to_owned());
        };
        if pin.entered {
            pin.spent = true;
            return self.new_family(now);
        }
        if pin.expires_at <= now { Word::PinOver.outcome() } else { Outcome::Pending }
    }

    fn new_family(&mut self, now: Moment) -> Outcome {
        let (access, refresh) = (self.mint("access"), self.mint("refresh"));
        self.families.push(Family {
            access: Some((access.clone(), now + self.lifetime)),
            refresh: VecDeque::from([(refresh.clone(), None)]),
        });
        if self.families.len() > REMEMBERED {
            self.families.remove(0);
        }
        Outcome::Granted(self.grant(access, Some(refresh).filter(|_| self.refreshable)))
    }

    fn grant(&self, access: String, refresh: Option<String>) -> Granted {
        Granted {
            access: AccessToken {
                token: Secret::new(access),
                token_type: "Bearer".to_owned(),
                scope: Some("smartWrite".to_owned()),
            },
            lifetime: self.lifetime,
            refresh_token: refresh.map(Secret::new),
        }
    }

    fn refresh(&mut self, now: Moment, shown: &str, tally: &mut Tally) -> Arrival {
        let refused = |killed| Arrival { outcome: Word::Refused.outcome(), killed };
        if now < self.quarantine_until {
            tally.count(Fault::Quarantined);
            return refused(None);
        }
        let known = |family: &Family| family.refresh.iter().any(|(token, _)| token == shown);
        let Some(found) = self.families.iter().position(known) else {
            return refused(None);
        };
        let dead = self.families[found]
            .refresh
            .iter()
            .any(|&(ref token, dies_at)| token == shown && dies_at.is_some_and(|at| at <= now));
        if dead {
            return refused(match self.rotation {
                Rotation::ReuseDetection => {
                    tally.count(Fault::FamilyRevoked);
                    self.revoke(found)
                }
                Rotation::Reuse
                | Rotation::Same
                | Rotation::Absent
                | Rotation::Strict
                | Rotation::Leeway(_) => None,
            });
        }
        let (fresh, old_dies_at) = match self.rotation {
            Rotation::Reuse => (Some(self.mint("refresh")), None),
            Rotation::Same => (Some(shown.to_owned()), None),
            Rotation::Absent => (None, None),
            Rotation::Strict | Rotation::ReuseDetection => (Some(self.mint("refresh")), Some(now)),
            Rotation::Leeway(leeway) => (Some(self.mint("refresh")), Some(now + leeway)),
        };
        let access = self.mint("access");
        let family = &mut self.families[found];
        for (_, dies_at) in &mut family.refresh {
            *dies_at = dies_at.or(old_dies_at);
        }
        if let Some(fresh) = fresh.clone().filter(|fresh| fresh != shown) {
            family.refresh.push_back((fresh, None));
        }
        if family.refresh.len() > REMEMBERED {
            family.refresh.pop_front();
        }
        let killed = family.access.replace((access.clone(), now + self.lifetime)).map(|(token, _)| token);
        // The one that is in use is forgotten last.
        self.families[found..].rotate_left(1);
        Arrival { outcome: Outcome::Granted(self.grant(access, fresh)), killed }
    }

    fn revoke(&mut self, family: usize) -> Option<String> {
        let family = &mut self.families[family];
        family.refresh.clear();
        family.access.take().map(|(token, _)| token)
    }

    /// The owner revokes everything: no refresh token works again. The access tokens that died of it.
    pub(crate) fn revoke_all(&mut self) -> Vec<String> {
        let families = std::mem::take(&mut self.families);
        let killed: Vec<_> =
            families.into_iter().filter_map(|family| family.access.map(|(token, _)| token)).collect();
        for token in &killed {
            self.surprise(token);
        }
        killed
    }

    fn surprise(&mut self, token: &str) {
        self.surprises.push_back(token.to_owned());
        if self.surprises.len() > REMEMBERED {
            self.surprises.pop_front();
        }
    }

    /// No refresh token works again, but the access tokens live on.
    pub(crate) fn revoke_refresh_tokens(&mut self) {
        for family in &mut self.families {
            family.refresh.clear();
        }
    }

    /// The newest access token dies before its time.
    pub(crate) fn kill_access_token(&mut self) -> Option<String> {
        let (killed, _) = self.families.last_mut()?.access.take()?;
        self.surprise(&killed);
        Some(killed)
    }

    /// Whether this access token died of no call.
    pub(crate) fn surprised(&self, access: &str) -> bool {
        self.surprises.iter().any(|token| token == access)
    }

    /// Whether ecobee takes this access token now.
    pub(crate) fn takes(&self, access: &str, now: Moment) -> bool {
        self.families
            .iter()
            .rev()
            .filter_map(|family| family.access.as_ref())
            .any(|(token, dies_at)| token == access && now < *dies_at)
    }

    /// Whether ecobee takes this refresh token, a passing whim aside.
    pub(crate) fn honours(&self, refresh: &str, now: Moment) -> bool {
        self.families
            .iter()
            .rev()
            .flat_map(|family| family.refresh.iter().rev())
            .any(|(token, dies_at)| token == refresh && dies_at.is_none_or(|at| now < at))
    }

    /// A person enters a PIN; whether ecobee took it.
    pub(crate) fn enter(&mut self, pin: &str, now: Moment) -> bool {
        let found = self.pins.iter_mut().find(|known| known.shown == pin && now < known.expires_at);
        found.is_some_and(|pin| {
            pin.entered = true;
            !pin.spent
        })
    }

    /// Whether a person could enter this PIN now, or has done so.
    pub(crate) fn knows_pin(&self, pin: &str, now: Moment) -> bool {
        self.pins.iter().any(|known| known.shown == pin && (now < known.expires_at || known.entered))
    }
}
