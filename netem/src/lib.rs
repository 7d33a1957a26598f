//! A network in a box, in virtual time.
