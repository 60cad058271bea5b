//! The two oracles.
