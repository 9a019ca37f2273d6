//! Why what lets clients in cannot be used: sentences for whoever set it. None of them has a word of what a file holds.

use std::path::PathBuf;

use thiserror::Error;

/// Why what lets clients in cannot be used.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Settings do not fit together.
    #[error("{setting} {sentence}")]
    Contradiction {
        /// The one that is to be changed.
        setting: &'static str,
        /// Why.
        sentence: String,
    },
    /// A file that a setting names is missing, or cannot be read.
    #[error("the file {}, which {setting} names, cannot be read: {cause}", file.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// What a file holds is of no use.
    #[error("the file {}, which {setting} names, {cause}", file.display())]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}
