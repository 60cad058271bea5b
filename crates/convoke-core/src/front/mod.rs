//! Source text to a syntax tree.
pub mod ast {
    //! The syntax tree.
}
