//! What an answer is made of.

use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::keeper::AccessToken;

/// All answers but the streams are whole when they begin.
pub(super) enum Body {
    Whole(Full<Piece>),
    /// What comes over time; boxed, for it is rare and lasts.
    Stream(Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = Infallible>>>),
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(Piece::Bytes(bytes.into())))
    }

    /// The bare token in a line. It goes out from where it is kept: no reader costs a copy of it.
    pub(super) fn line(access: Rc<AccessToken>) -> Self {
        Self::Whole(Full::new(Piece::Line { access, sent: 0 }))
    }
}

/// Bytes on their way out.
pub(super) enum Piece {
    Bytes(Bytes),
    /// An access token and a newline, of which so many bytes have left.
    Line {
        access: Rc<AccessToken>,
        sent: usize,
    },
}

const NEWLINE: &[u8] = b"\n";

impl Piece {
    /// What is left, in one place or in two.
    fn left(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Bytes(bytes) => (bytes, &[]),
            Self::Line { access, sent } => {
                let token = access.token.expose().as_bytes();
                match token.get(*sent..) {
                    Some(left) if !left.is_empty() => (left, NEWLINE),
                    Some(_) => (NEWLINE, &[]),
                    None => (&[], &[]),
                }
            }
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        let (first, second) = self.left();
        first.len() + second.len()
    }

    fn chunk(&self) -> &[u8] {
        self.left().0
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (first, second) = self.left();
        let pieces = [first, second].into_iter().filter(|piece| !piece.is_empty());
        slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Line { sent, .. } => *sent += count,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Stream(stream) => stream
                .as_mut()
                .poll_frame(context)
                .map(|next| next.map(|frame| frame.map(|frame| frame.map_data(Piece::Bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// All that is left, taken out in bites of this size, each looked at in both ways.
    fn eaten(mut piece: Piece, bite: usize) -> String {
        let mut all = Vec::new();
        while piece.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = piece.chunks_vectored(&mut slices);
            let seen: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            assert_eq!(seen, piece.remaining());
            let bite = bite.min(piece.chunk().len());
            all.extend_from_slice(&piece.chunk()[..bite]);
            piece.advance(bite);
        }
        assert_eq!((piece.chunk().len(), piece.chunks_vectored(&mut [IoSlice::new(&[])])), (0, 0));
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn a_token_leaves_in_a_line_however_little_the_kernel_takes_at_a_time() {
        let token = AccessToken { token: Secret::new("eyJ0"), token_type: "Bearer".into(), scope: None };
        let access = Rc::new(token);
        for bite in 1..7 {
            assert_eq!(eaten(Piece::Line { access: Rc::clone(&access), sent: 0 }, bite), "eyJ0\n");
            assert_eq!(eaten(Piece::Bytes(Bytes::from_static(b"ok\n")), bite), "ok\n");
        }
    }

    #[test]
    fn a_line_can_be_taken_in_one_go() {
        let token = AccessToken { token: Secret::new("eyJ0"), token_type: "Bearer".into(), scope: None };
        let mut piece = Piece::Line { access: Rc::new(token), sent: 0 };
        piece.advance(5);
        assert!(!piece.has_remaining());
    }
}
