//! The environment variables: one for each setting, TOLLGATE_CONFIG, and RUST_LOG as a fallback for `log`.

use std::{collections::BTreeMap, ffi::OsString};

use super::{
    layers::{Assignment, Layer},
    problem::{Problem, Problems, shortened},
    setting::{SETTINGS, Setting},
    suggestion::nearest,
};

/// Variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "TOLLGATE_CONFIG";

const PREFIX: &str = "TOLLGATE_";

const LOG_FALLBACK: &str = "RUST_LOG";

/// Environment variables. An empty one counts as unset, because container tools pass unset variables as empty ones.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Returns the variables of this process.
    pub fn from_process() -> Self {
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect()
    }

    /// Returns the path of the configuration file, if a variable names it.
    pub(super) fn config(&self) -> Option<&OsString> {
        self.0.get(CONFIG_VARIABLE)
    }

    /// Returns the settings that variables name.
    pub(super) fn layer(&self, problems: &mut Problems) -> Layer {
        Layer(SETTINGS.iter().filter_map(|setting| self.assignment(setting, &setting.variable(), problems)).collect())
    }

    /// Returns RUST_LOG as a value of `log`. Every other source overrides it.
    pub(super) fn fallback(&self, problems: &mut Problems) -> Layer {
        let log = Setting::by_key("log").and_then(|log| self.assignment(log, LOG_FALLBACK, problems));
        Layer(log.into_iter().collect())
    }

    /// Reports each variable that begins with `TOLLGATE_` but is not a setting, except those that Kubernetes sets.
    pub(super) fn check_names(&self, problems: &mut Problems) {
        let known: Vec<String> =
            SETTINGS.iter().map(Setting::variable).chain(std::iter::once(CONFIG_VARIABLE.to_owned())).collect();
        for (name, value) in &self.0 {
            let is_accepted = !name.starts_with(PREFIX) || known.contains(name) || is_kubernetes_service(name, value);
            if is_accepted {
                continue;
            }
            let advice = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "unset it, or see `tollgate serve --help` for the settings".to_owned(),
            };
            let message = format!("unknown setting; {advice}");
            problems.push(Problem { key: shortened(name), origin: "environment".to_owned(), message });
        }
    }

    fn assignment(&self, setting: &'static Setting, name: &str, problems: &mut Problems) -> Option<Assignment> {
        let value = self.0.get(name)?;
        let origin = name.to_owned();
        match value.to_str() {
            Some(text) => Some(Assignment { setting, text: text.to_owned(), origin }),
            None => {
                let message = "must be valid UTF-8".to_owned();
                problems.push(Problem { key: setting.key.to_owned(), origin, message });
                None
            }
        }
    }
}

impl<Value: Into<OsString>> FromIterator<(String, Value)> for Variables {
    fn from_iter<Pairs: IntoIterator<Item = (String, Value)>>(pairs: Pairs) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name, value.into()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// Returns whether Kubernetes sets this variable, as it does in each pod of a namespace with a Service named `tollgate…`.
fn is_kubernetes_service(name: &str, value: &OsString) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_link = || {
        let value = value.to_string_lossy();
        PROTOCOLS.iter().any(|protocol| value.starts_with(&format!("{}://", protocol.to_lowercase())))
    };
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    // TOLLGATE_PORT=tcp://10.0.0.1:50051 is from Kubernetes; TOLLGATE_PORT=50051 is a user's mistake that is reported.
    if name.ends_with("_PORT") && is_link() {
        return true;
    }
    // TOLLGATE_PORT_50051_TCP, and the same with the suffix _ADDR, _PORT or _PROTO.
    let words: Vec<&str> = name.split('_').collect();
    words.windows(3).any(|three| {
        let is_number = !three[1].is_empty() && three[1].bytes().all(|byte| byte.is_ascii_digit());
        three[0] == "PORT" && is_number && PROTOCOLS.contains(&three[2])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let variables: Variables = pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let mut problems = Problems::default();
        variables.check_names(&mut problems);
        match problems.into_result(()) {
            Ok(()) => Vec::new(),
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn an_unknown_variable_is_reported_without_its_value() {
        let found = problems(&[("TOLLGATE_STROE", "redis://:secret@h")]);
        assert_eq!(found, ["TOLLGATE_STROE (environment): unknown setting; did you mean TOLLGATE_STORE?"]);
        assert_eq!(problems(&[("TOLLGATE_PORT", "50051"), ("TOLLGATE_LISTEN_PORT", "1")]).len(), 3);
        assert!(problems(&[("TOLLGATE_STORE", "memory"), ("TOLLGATE_CONFIG", "x"), ("PATH", "y")]).is_empty());
        assert!(problems(&[("TOLLGATE_STROE", "")]).is_empty());
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_ignored() {
        let link = "tcp://10.0.0.1:50051";
        let from_kubernetes = [
            ("TOLLGATE_SERVICE_HOST", "10.0.0.1"),
            ("TOLLGATE_SERVICE_PORT", "50051"),
            ("TOLLGATE_SERVICE_PORT_GRPC", "50051"),
            ("TOLLGATE_PORT", link),
            ("TOLLGATE_PORT_50051_TCP", link),
            ("TOLLGATE_PORT_50051_TCP_ADDR", "10.0.0.1"),
            ("TOLLGATE_PORT_50051_TCP_PORT", "50051"),
            ("TOLLGATE_PORT_50051_TCP_PROTO", "tcp"),
            ("TOLLGATE_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("TOLLGATE_ADMIN_PORT", link),
            ("TOLLGATE_ADMIN_PORT_50052_TCP", link),
        ];
        assert_eq!(problems(&from_kubernetes), Vec::<String>::new());
    }
}
