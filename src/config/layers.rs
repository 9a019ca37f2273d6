//! One layer over the other: of each setting the value of the highest layer that has one, and where it is from.

use super::{
    Settings,
    problem::{Problem, Problems},
    setting::{SETTINGS, Setting},
};

/// A value as somebody wrote it.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    /// The file and the line, the variable, or the flag.
    pub(super) origin: String,
}

/// What one place says of settings.
#[derive(Clone, Default)]
pub(super) struct Layer(pub(super) Vec<Given>);

/// Values are left out: one of them may be a URL with a password.
impl std::fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|given| (given.setting.key, &given.origin))).finish()
    }
}

impl Layer {
    /// What everything is that nobody speaks of.
    pub(super) fn defaults() -> Self {
        let default = |setting: &'static Setting| Given {
            setting,
            text: setting.default.to_owned(),
            origin: "default".to_owned(),
        };
        Self(SETTINGS.iter().map(default).collect())
    }

    /// Finds every value that is of no use, though a higher layer may have another: whoever wrote it meant something by it.
    pub(super) fn check(&self, problems: &mut Problems) {
        self.apply(&mut Settings::default(), problems);
    }

    /// Takes every value that is of use.
    pub(super) fn apply(&self, settings: &mut Settings, problems: &mut Problems) {
        for Given { setting, text, origin } in &self.0 {
            if let Err(sentence) = setting.apply(text, settings) {
                problems.push(Problem { key: setting.key.to_owned(), origin: origin.clone(), sentence });
            }
        }
    }

    /// What it says of one setting.
    pub(super) fn find(&self, key: &str) -> Option<&Given> {
        self.0.iter().find(|given| given.setting.key == key)
    }
}

/// Puts layers over each other, the lowest first.
pub(super) fn merge(layers: &[Layer]) -> Layer {
    let highest = |setting: &Setting| layers.iter().rev().find_map(|layer| layer.find(setting.key));
    Layer(SETTINGS.iter().filter_map(highest).cloned().collect())
}
