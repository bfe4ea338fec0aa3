//! What happened in the pretend world, for tests to look back on.

use std::fmt;

use ecobee_tokend::keeper::{Answer, Ask, Moment, News, Notice, Outcome, Problem, RequestId};

use super::ecobee::{Errand, Request};

/// One thing that happened.
pub(crate) enum Deed {
    Sent(Request),
    Heard(String),
    Ordered,
    Saved(Result<(), String>),
    Asked(RequestId, Ask),
    Answered(RequestId, Answer),
    Told(News),
    Notified(Notice),
    Crashed,
    Entered(String),
    /// Something befell the machine, or ecobee.
    Befell(&'static str),
    /// The machine is up again, and its wall clock is so far wrong.
    Booted(i64),
}

/// Everything that happened, in order.
#[derive(Default)]
pub(crate) struct History {
    deeds: Vec<(Moment, Deed)>,
}

/// What a failing test shows.
const PAGE: usize = 40;

impl History {
    pub(crate) fn add(&mut self, at: Moment, deed: Deed) {
        self.deeds.push((at, deed));
    }

    /// Keeps no more than a page: for storms, which look back at nothing.
    pub(crate) fn forget_old(&mut self) {
        if self.deeds.len() > 10 * PAGE {
            self.deeds.drain(..9 * PAGE);
        }
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        self.deeds.clear();
    }

    /// The calls of one kind, with what they showed.
    pub(crate) fn sent(&self, errand: Errand) -> Vec<(Moment, &str)> {
        self.pick(|deed| if let Deed::Sent(request) = deed { Some(request) } else { None })
            .into_iter()
            .filter(|(_, request)| request.errand() == errand)
            .map(|(at, request)| (at, request.shown()))
            .collect()
    }

    /// When the calls of one kind were sent.
    pub(crate) fn sent_at(&self, errand: Errand) -> Vec<Moment> {
        self.sent(errand).into_iter().map(|(at, _)| at).collect()
    }

    /// The diary.
    pub(crate) fn news(&self) -> Vec<(Moment, &News)> {
        self.pick(|deed| if let Deed::Told(news) = deed { Some(news) } else { None })
    }

    /// How many entries of this kind the diary holds.
    pub(crate) fn count(&self, kind: impl Fn(&News) -> bool) -> usize {
        self.news().into_iter().filter(|(_, news)| kind(news)).count()
    }

    /// Whether the diary holds an entry of this kind.
    pub(crate) fn says(&self, kind: impl Fn(&News) -> bool) -> bool {
        self.count(kind) > 0
    }

    /// What people were told.
    pub(crate) fn notices(&self) -> Vec<(Moment, &Notice)> {
        self.pick(|deed| if let Deed::Notified(notice) = deed { Some(notice) } else { None })
    }

    /// The answer to a request, and when it came.
    pub(crate) fn answer(&self, to: RequestId) -> Option<(Moment, &Answer)> {
        let answers = self.pick(|deed| {
            if let Deed::Answered(request, answer) = deed { Some((request, answer)) } else { None }
        });
        answers.into_iter().find(|(_, (request, _))| **request == to).map(|(at, (_, answer))| (at, answer))
    }

    fn pick<'a, T>(&'a self, what: impl Fn(&'a Deed) -> Option<T>) -> Vec<(Moment, T)> {
        self.deeds.iter().filter_map(|(at, deed)| what(deed).map(|found| (*at, found))).collect()
    }
}

/// The last page, for a failing test.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last_page = self.deeds.len().saturating_sub(PAGE);
        for (at, deed) in &self.deeds[last_page..] {
            write!(f, "\n  {:>12} ", at.as_millis())?;
            match deed {
                Deed::Sent(request) => write!(f, "sent {:?} {}", request.errand(), request.shown())?,
                Deed::Heard(what) => write!(f, "heard {what}")?,
                Deed::Ordered => write!(f, "a save begins")?,
                Deed::Saved(Ok(())) => write!(f, "saved")?,
                Deed::Saved(Err(why)) => write!(f, "not saved: {why}")?,
                Deed::Asked(id, ask) => write!(f, "#{} asks {ask:?}", id.0)?,
                Deed::Answered(id, answer) => write!(f, "#{} gets {}", id.0, answer_in_words(answer))?,
                Deed::Told(news) => write!(f, "diary: {news:?}")?,
                Deed::Notified(notice) => write!(f, "people: {notice:?}")?,
                Deed::Crashed => write!(f, "crash, and a new start")?,
                Deed::Booted(error) => write!(f, "booted, the wall clock {error} ms wrong")?,
                Deed::Befell(what) => write!(f, "{what}")?,
                Deed::Entered(pin) => write!(f, "a person enters {pin}")?,
            }
        }
        Ok(())
    }
}

fn answer_in_words(answer: &Answer) -> String {
    match answer {
        Answer::Token { access, promised } => {
            format!("{} for {} ms", access.token.expose(), promised.as_millis())
        }
        Answer::Pin(pin) => format!("{pin:?}"),
        Answer::Problem(Problem::Unavailable { detail, retry_after }) => {
            format!("503 {detail} ({} s)", retry_after.as_secs())
        }
        Answer::Problem(problem) => format!("{problem:?}"),
    }
}

/// An outcome without its secrets, for the history.
pub(crate) fn outcome_in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Granted(granted) => {
            let refresh = granted.refresh_token.as_ref().map_or("no refresh token", |token| token.expose());
            format!("{} with {refresh}", granted.access.token.expose())
        }
        Outcome::PinIssued(issued) => issued.pin.clone(),
        Outcome::Pending
        | Outcome::SlowDown
        | Outcome::PinOver(_)
        | Outcome::Refused(_)
        | Outcome::Misconfigured(_)
        | Outcome::Trouble(_) => format!("{outcome:?}"),
    }
}
