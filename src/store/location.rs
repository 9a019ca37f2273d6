//! Where a store is, as an operator writes it. What is shown of it never contains a password.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// In this process, and gone with it.
    Memory,
    /// In a file of this directory, which is made if it is missing.
    Embedded(PathBuf),
    /// On the Redis or Valkey server at this URL.
    Redis(String),
}

/// The text names no store.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It begins with none of the words that are known.
    #[error(
        "a store is one of `memory`, `embedded:DIRECTORY`, `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with \
         `rediss://` for TLS, and `redis+unix:///PATH/OF/SOCKET`"
    )]
    Unknown,
    /// `embedded:` without a directory.
    #[error("`embedded:` needs a directory, as in `embedded:/var/lib/tollgate`")]
    NoDirectory,
    /// It looks like the URL of a Redis server, but is none. The reason does not repeat it, as it may hold a password.
    #[error(
        "this is not a valid URL of a Redis server ({reason}); one looks like `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`"
    )]
    BadUrl {
        /// What is wrong with it.
        reason: String,
    },
}

const REDIS_SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(directory) = text.strip_prefix("embedded:") {
            return if directory.is_empty() {
                Err(LocationError::NoDirectory)
            } else {
                Ok(Self::Embedded(directory.into()))
            };
        }
        if !REDIS_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(LocationError::Unknown);
        }
        if has_user_after_host(text) {
            let reason =
                "an `@` stands after the host: in a password, write / as %2F, ? as %3F and # as %23".to_owned();
            return Err(LocationError::BadUrl { reason });
        }
        match redis::Client::open(text) {
            Ok(_) => Ok(Self::Redis(text.to_owned())),
            Err(error) => Err(LocationError::BadUrl { reason: without_detail(&error) }),
        }
    }
}

/// Whether a password with a sign that ends the name of a host would be taken for that name, and shown. A socket's path may have
/// any sign.
fn has_user_after_host(url: &str) -> bool {
    let after_scheme = url.split_once("://").filter(|(scheme, _)| *scheme != "redis+unix").map_or("", |(_, rest)| rest);
    after_scheme.split_once(['/', '?', '#', '\\']).is_some_and(|(_, rest)| rest.contains('@'))
}

/// What is wrong with a URL, without the detail, which may repeat a part of it.
fn without_detail(error: &redis::RedisError) -> String {
    let reason = error.to_string();
    let detail = error.detail().unwrap_or_default();
    reason.strip_suffix(detail).map_or("it cannot be read", |reason| reason.trim_end_matches(": ")).to_owned()
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => formatter.write_str("memory"),
            Self::Embedded(directory) => write!(formatter, "embedded:{}", directory.display()),
            Self::Redis(url) => match redis::parse_redis_url(url) {
                // The query is left out as well: for a unix socket, it is where the password stands.
                Some(url) => {
                    write!(formatter, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                    if let Some(port) = url.port() {
                        write!(formatter, ":{port}")?;
                    }
                    formatter.write_str(url.path())
                }
                None => formatter.write_str("redis"),
            },
        }
    }
}

impl fmt::Debug for StoreLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_store_is_understood() {
        assert_eq!("memory".parse(), Ok(StoreLocation::Memory));
        assert_eq!("embedded:/var/lib".parse(), Ok(StoreLocation::Embedded("/var/lib".into())));
        for url in ["redis://localhost", "rediss://u:p@h:6380/3", "redis+unix:///run/redis.sock"] {
            assert_eq!(url.parse(), Ok(StoreLocation::Redis(url.to_owned())));
        }
    }

    #[test]
    fn what_names_no_store_is_told_what_does() {
        assert_eq!("postgres://h".parse::<StoreLocation>(), Err(LocationError::Unknown));
        assert_eq!("embedded:".parse::<StoreLocation>(), Err(LocationError::NoDirectory));
        let error = "redis://h:port/".parse::<StoreLocation>().unwrap_err();
        assert!(matches!(error, LocationError::BadUrl { .. }), "{error}");
        assert!(LocationError::Unknown.to_string().contains("embedded:DIRECTORY"));
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("rediss://user:secret@h:6380/3", "rediss://h:6380/3"),
            ("redis+unix:///run/redis.sock?pass=secret", "redis+unix:///run/redis.sock"),
            ("redis://:secret@", "redis"),
        ] {
            let location = StoreLocation::Redis(url.to_owned());
            assert_eq!(format!("{location}"), shown);
            assert_eq!(format!("{location:?}"), shown);
        }
        for url in [
            "redis://u:pw@secret?@h",
            "redis://u:1/secret@h",
            "redis://:secret@h:port",
            "redis://h?protocol=secret@h",
            "redis://:secret@h/secret",
        ] {
            let error = url.parse::<StoreLocation>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
