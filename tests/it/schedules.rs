//! The connection of a request in every order of borrow, answer, release, cancel, close and end.
