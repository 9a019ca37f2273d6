//! The environment's layer: a variable for each setting, TOLLGATE_CONFIG, and RUST_LOG where nothing else says what to log.

use std::{collections::BTreeMap, ffi::OsString};

use super::{
    layers::{Given, Layer},
    problem::{Problem, Problems, short},
    setting::{SETTINGS, Setting},
    suggestion::nearest,
};

/// The variable that names the file.
pub(super) const CONFIG_VARIABLE: &str = "TOLLGATE_CONFIG";

const PREFIX: &str = "TOLLGATE_";

const LOG_FALLBACK: &str = "RUST_LOG";

/// The variables of a process. An empty one counts as unset: that is how container tools pass on what nobody set.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Those of this process.
    pub fn of_process() -> Self {
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect()
    }

    pub(super) fn config(&self) -> Option<&OsString> {
        self.0.get(CONFIG_VARIABLE)
    }

    /// What they say of settings.
    pub(super) fn layer(&self, problems: &mut Problems) -> Layer {
        Layer(SETTINGS.iter().filter_map(|setting| self.given(setting, &setting.variable(), problems)).collect())
    }

    /// What says it if nothing else does.
    pub(super) fn fallback(&self, problems: &mut Problems) -> Layer {
        let log = Setting::of_key("log").and_then(|log| self.given(log, LOG_FALLBACK, problems));
        Layer(log.into_iter().collect())
    }

    /// Refuses variables that look like settings and are none.
    pub(super) fn check_names(&self, problems: &mut Problems) {
        let known: Vec<String> =
            SETTINGS.iter().map(Setting::variable).chain(std::iter::once(CONFIG_VARIABLE.to_owned())).collect();
        for (name, value) in &self.0 {
            let foreign = !name.starts_with(PREFIX) || known.contains(name) || is_of_kubernetes(name, value);
            if foreign {
                continue;
            }
            let advice = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "unset it, or see `tollgate serve --help` for those that there are".to_owned(),
            };
            let sentence = format!("there is no such setting; {advice}");
            problems.push(Problem { key: short(name), origin: "environment".to_owned(), sentence });
        }
    }

    fn given(&self, setting: &'static Setting, name: &str, problems: &mut Problems) -> Option<Given> {
        let value = self.0.get(name)?;
        let origin = name.to_owned();
        match value.to_str() {
            Some(text) => Some(Given { setting, text: text.to_owned(), origin }),
            None => {
                let sentence = "is not text in UTF-8".to_owned();
                problems.push(Problem { key: setting.key.to_owned(), origin, sentence });
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

/// Whether Kubernetes sets it in each pod of a namespace that has a Service whose name begins with `tollgate`.
fn is_of_kubernetes(name: &str, value: &OsString) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_link = || {
        let value = value.to_string_lossy();
        PROTOCOLS.iter().any(|protocol| value.starts_with(&format!("{}://", protocol.to_lowercase())))
    };
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    // TOLLGATE_PORT=tcp://10.0.0.1:50051 is a link; TOLLGATE_PORT=50051 is somebody's wish, who has to hear that it is none.
    if name.ends_with("_PORT") && is_link() {
        return true;
    }
    // TOLLGATE_PORT_50051_TCP, and the same with _ADDR, _PORT or _PROTO behind it.
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
        match problems.none_or(()) {
            Ok(()) => Vec::new(),
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn what_looks_like_a_setting_and_is_none_is_refused_without_its_value() {
        let found = problems(&[("TOLLGATE_STROE", "redis://:secret@h")]);
        assert_eq!(found, ["TOLLGATE_STROE (environment): there is no such setting; did you mean TOLLGATE_STORE?"]);
        assert_eq!(problems(&[("TOLLGATE_PORT", "50051"), ("TOLLGATE_LISTEN_PORT", "1")]).len(), 3);
        assert!(problems(&[("TOLLGATE_STORE", "memory"), ("TOLLGATE_CONFIG", "x"), ("PATH", "y")]).is_empty());
        assert!(problems(&[("TOLLGATE_STROE", "")]).is_empty());
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_passed_over() {
        let link = "tcp://10.0.0.1:50051";
        let injected = [
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
        assert_eq!(problems(&injected), Vec::<String>::new());
    }
}
