//! Why the access settings cannot be used, in sentences for the operator. No sentence quotes what a file holds.

use std::path::PathBuf;

use thiserror::Error;

/// Why the access settings cannot be used.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Settings contradict each other.
    #[error("{setting} {sentence}")]
    Contradiction {
        /// The setting to change.
        setting: &'static str,
        /// The problem, which follows the setting's name in a sentence.
        sentence: String,
    },
    /// A file that a setting names is missing, or cannot be read.
    #[error("the file {}, which {setting} names, cannot be read: {cause}", file.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's error.
        cause: String,
    },
    /// The contents of a file cannot be used.
    #[error("the file {}, which {setting} names, {cause}", file.display())]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The problem, which follows the file's name in a sentence.
        cause: String,
    },
}
