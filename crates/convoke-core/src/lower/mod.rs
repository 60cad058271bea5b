//! A layer and its plan to loops and tiles.
pub mod weights;
