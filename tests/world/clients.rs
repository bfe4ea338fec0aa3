//! What clients do: they ask, wait, hang up, and get a token, a PIN or a problem.

use std::time::Duration;

use ecobee_tokend::keeper::{Answer, Event, PinView, Problem, RequestId};

use super::World;
use super::history::Deed;
use super::question::{Question, authorize};

/// A token that was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) token: String,
    pub(crate) promised: Duration,
}

impl World {
    /// A client asks; see [`World::answer`].
    pub(crate) fn ask(&mut self, question: Question) -> RequestId {
        self.requests += 1;
        self.tally.requests += 1;
        let id = RequestId(self.requests);
        let ask = question.into_ask();
        self.history.add(self.now, Deed::Asked(id, ask.clone()));
        self.laws.asked(self.now, id, &ask);
        self.forcing(ask.uid, Event::Asked(id, ask));
        self.laws.waits(id, &self.keeper.view(self.now));
        id
    }

    /// A client does not wait any longer.
    pub(crate) fn hang_up(&mut self, id: RequestId) {
        self.laws.hung_up(id);
        self.step(Event::HungUp(id));
    }

    /// The answer to a request, if it has come.
    pub(crate) fn answer(&self, id: RequestId) -> Option<Answer> {
        self.history.answer(id).map(|(_, answer)| answer.clone())
    }

    /// Whether a request still waits.
    pub(crate) fn waits(&self, id: RequestId) -> bool {
        self.history.answer(id).is_none()
    }

    /// Lets time go on until the answer has come; how long that took, and the answer.
    pub(crate) fn wait_for(&mut self, id: RequestId) -> (Duration, Answer) {
        let asked_at = self.now;
        while self.waits(id) {
            self.next_event(None);
        }
        let Some((at, answer)) = self.history.answer(id) else { panic!("no answer") };
        (at.since(asked_at), answer.clone())
    }

    /// Asks, and expects a token at once.
    #[track_caller]
    pub(crate) fn lent(&mut self, question: Question) -> Lent {
        let id = self.ask(question);
        match self.answer(id) {
            Some(answer) => as_token(answer),
            None => panic!("no answer at once"),
        }
    }

    /// Asks, waits, and expects a token; how long that took.
    #[track_caller]
    pub(crate) fn lent_later(&mut self, question: Question) -> (Duration, Lent) {
        let id = self.ask(question);
        let (took, answer) = self.wait_for(id);
        (took, as_token(answer))
    }

    /// Asks, and expects a problem at once.
    #[track_caller]
    pub(crate) fn problem(&mut self, question: Question) -> Problem {
        let id = self.ask(question);
        match self.answer(id) {
            Some(Answer::Problem(problem)) => problem,
            other => panic!("{other:?} in place of a problem"),
        }
    }

    /// Asks, waits, and expects a problem; how long that took.
    #[track_caller]
    pub(crate) fn problem_later(&mut self, question: Question) -> (Duration, Problem) {
        let id = self.ask(question);
        match self.wait_for(id) {
            (took, Answer::Problem(problem)) => (took, problem),
            (_, other) => panic!("{other:?} in place of a problem"),
        }
    }

    /// Asks for a PIN, and waits for it.
    #[track_caller]
    pub(crate) fn pin_later(&mut self) -> PinView {
        let id = self.ask(authorize());
        match self.wait_for(id) {
            (_, Answer::Pin(pin)) => pin,
            (_, other) => panic!("{other:?} in place of a PIN"),
        }
    }

    /// Whether a request still waits, as far as the laws know: the history may be forgotten.
    pub(crate) fn waits_still(&self, id: RequestId) -> bool {
        self.laws.is_open(id)
    }
}

#[track_caller]
fn as_token(answer: Answer) -> Lent {
    match answer {
        Answer::Token { access, promised } => Lent { token: access.token.expose().to_owned(), promised },
        other @ (Answer::Pin(_) | Answer::Problem(_)) => panic!("{other:?} in place of a token"),
    }
}
