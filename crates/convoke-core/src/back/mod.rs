//! Backends that write text.
pub mod rust;
