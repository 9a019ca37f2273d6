//! Merges the sources of settings: for each setting, the value of the highest source that has one.

use super::{
    Settings,
    problem::{Problem, Problems},
    setting::{SETTINGS, Setting},
};

/// The text that a source has for one setting.
#[derive(Clone)]
pub(super) struct Assignment {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    /// Where the text is: the file and the line, the variable, or the flag.
    pub(super) origin: String,
}

/// All assignments of one source: the defaults, the file, the environment, or the command line.
#[derive(Clone, Default)]
pub(super) struct Layer(pub(super) Vec<Assignment>);

/// Omits the texts: one of them may be a URL with a password.
impl std::fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let assignments = self.0.iter().map(|assignment| (assignment.setting.key, &assignment.origin));
        formatter.debug_list().entries(assignments).finish()
    }
}

impl Layer {
    /// Returns the built-in defaults.
    pub(super) fn defaults() -> Self {
        let default = |setting: &'static Setting| Assignment {
            setting,
            text: setting.default.to_owned(),
            origin: "default".to_owned(),
        };
        Self(SETTINGS.iter().map(default).collect())
    }

    /// Reports every text that is not valid, including one that a higher layer overrides: it is still a mistake.
    pub(super) fn check(&self, problems: &mut Problems) {
        self.apply(&mut Settings::default(), problems);
    }

    /// Parses each text and stores the value in `settings`. Reports texts that are not valid.
    pub(super) fn apply(&self, settings: &mut Settings, problems: &mut Problems) {
        for Assignment { setting, text, origin } in &self.0 {
            if let Err(message) = setting.apply(text, settings) {
                problems.push(Problem { key: setting.key.to_owned(), origin: origin.clone(), message });
            }
        }
    }

    /// Returns this layer's assignment of one setting.
    pub(super) fn find(&self, key: &str) -> Option<&Assignment> {
        self.0.iter().find(|assignment| assignment.setting.key == key)
    }
}

/// Merges layers, which are ordered from the lowest to the highest. The result is in the order of [`SETTINGS`].
pub(super) fn merge(layers: &[Layer]) -> Layer {
    let highest = |setting: &Setting| layers.iter().rev().find_map(|layer| layer.find(setting.key));
    Layer(SETTINGS.iter().filter_map(highest).cloned().collect())
}
