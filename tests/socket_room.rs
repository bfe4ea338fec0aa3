//! The socket, asked over real Unix sockets by a client that writes its bytes by hand; the house behind it is
//! scripted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "socket_room/answers.rs"]
mod answers;
#[path = "socket_room/bytes.rs"]
mod bytes;
#[path = "socket_room/client.rs"]
mod client;
#[path = "socket_room/crowds.rs"]
mod crowds;
#[path = "socket_room/events.rs"]
mod events;
#[path = "socket_room/house.rs"]
mod house;
#[path = "socket_room/metrics.rs"]
mod metrics;
#[path = "socket_room/places.rs"]
mod places;
#[path = "socket_room/refusals.rs"]
mod refusals;
