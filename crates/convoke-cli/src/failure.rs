//! Why the command ends with another exit code than 0.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// What went wrong, and whose doing it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command was used wrongly: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The input, or a check of it, failed: exit code 1.
    #[error("{0}")]
    Input(String),
    /// As `Input`, and everything has been said already.
    #[error("a check failed")]
    Reported,
    /// The output could not be written.
    #[error("the output could not be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// A failure that has to do with a file.
    pub(crate) fn file(path: &Path, reason: impl Display) -> Self {
        Self::Input(format!("{}: {reason}", path.display()))
    }

    /// A failure that has to do with a layer.
    pub(crate) fn layer(name: &str, reason: impl Display) -> Self {
        Self::Input(format!("layer {name}: {reason}"))
    }

    /// Says on standard error what is still to be said.
    pub(crate) fn report(&self) {
        if !matches!(self, Self::Reported) {
            let style = clap::builder::styling::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{style}error:{style:#} {self}");
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Input(_) | Self::Reported | Self::Output(_) => 1,
        }
    }

    /// Whether the reader of the output has gone, which is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Says on standard error what does not end the command.
pub(crate) fn warn(what: impl Display) {
    let style = clap::builder::styling::AnsiColor::Yellow.on_default().bold();
    anstream::eprintln!("{style}warning:{style:#} {what}");
}
