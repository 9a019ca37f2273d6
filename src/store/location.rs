//! The location of a store, as an operator writes it. Its text for logs and messages never contains a password.

use std::{fmt, path::PathBuf, str::FromStr};

/// The location of a store.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// In the memory of this process. The records are lost when it ends.
    Memory,
    /// In a file in this directory, which is created if it does not exist.
    Embedded(PathBuf),
    /// On the Redis or Valkey server at this URL.
    Redis(String),
}

/// The text is not the location of a store.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It begins with none of the known prefixes.
    #[error(
        "a store is one of `memory`, `embedded:DIRECTORY`, `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with \
         `rediss://` for TLS, and `redis+unix:///PATH/OF/SOCKET`"
    )]
    Unknown,
    /// `embedded:` without a directory.
    #[error("`embedded:` needs a directory, as in `embedded:/var/lib/tollgate`")]
    NoDirectory,
    /// It looks like the URL of a Redis server, but is invalid. The reason does not repeat it, because it may contain a
    /// password.
    #[error("this is not a valid URL of a Redis server: {reason}")]
    BadUrl {
        /// What is wrong, and what to do.
        reason: &'static str,
    },
}

/// The reason for a URL in which a part of the password follows the host.
const UNESCAPED_PASSWORD: &str = "there is an `@` after the host: in a password, write / as %2F, ? as %3F and # as %23";

const REDIS_SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(directory) = text.strip_prefix("embedded:") {
            // A URL here may contain a password, and a directory is shown in logs.
            return if directory.is_empty() || directory.contains("://") {
                Err(LocationError::NoDirectory)
            } else {
                Ok(Self::Embedded(directory.into()))
            };
        }
        if !REDIS_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(LocationError::Unknown);
        }
        if has_user_after_host(text) {
            return Err(LocationError::BadUrl { reason: UNESCAPED_PASSWORD });
        }
        // The client library's messages are not written for operators, and some repeat a part of the URL.
        match redis::Client::open(text) {
            Ok(_) => Ok(Self::Redis(text.to_owned())),
            Err(_) => Err(LocationError::BadUrl { reason: fault_of(text) }),
        }
    }
}

fn fault_of(text: &str) -> &'static str {
    let Some(url) = redis::parse_redis_url(text) else {
        return "it cannot be parsed; the form is `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, where a password's \
                `@`, `:`, `/`, `?`, `#` and `%` are written as %40, %3A, %2F, %3F, %23 and %25";
    };
    if url.scheme() == "redis+unix" {
        return "the path must be that of a socket, optionally followed by `?db=NUMBER`, `user=` and `pass=`, joined by `&`";
    }
    if matches!(url.host_str(), None | Some("")) {
        return "it has no host; the form is `redis://HOST`";
    }
    if !is_database(url.path()) {
        return "its path must be the number of a database, as in `redis://HOST/0`; in a password, write / as %2F";
    }
    "its host, or the part after `?` or `#`, is not supported"
}

fn is_database(path: &str) -> bool {
    path.trim_start_matches('/').bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the password contains an unescaped `/`, `?`, `#` or `\`. Then the part before it would be taken for
/// the host, and shown. The path of a socket may contain any character.
fn has_user_after_host(url: &str) -> bool {
    let after_scheme = url.split_once("://").filter(|(scheme, _)| *scheme != "redis+unix").map_or("", |(_, rest)| rest);
    after_scheme.split_once(['/', '?', '#', '\\']).is_some_and(|(_, rest)| rest.contains('@'))
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => formatter.write_str("memory"),
            Self::Embedded(directory) => write!(formatter, "embedded:{}", directory.display()),
            Self::Redis(url) => match redis::parse_redis_url(url) {
                // The query is left out as well: for a Unix socket, it contains the password.
                Some(url) => {
                    write!(formatter, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                    if let Some(port) = url.port() {
                        write!(formatter, ":{port}")?;
                    }
                    // A path that is neither a database nor a socket may be a part of an unescaped password.
                    if url.scheme() == "redis+unix" || is_database(url.path()) {
                        formatter.write_str(url.path())?;
                    }
                    Ok(())
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
    fn each_kind_of_location_is_parsed() {
        assert_eq!("memory".parse(), Ok(StoreLocation::Memory));
        assert_eq!("embedded:/var/lib".parse(), Ok(StoreLocation::Embedded("/var/lib".into())));
        for url in ["redis://localhost", "rediss://u:p@h:6380/3", "redis+unix:///run/redis.sock"] {
            assert_eq!(url.parse(), Ok(StoreLocation::Redis(url.to_owned())));
        }
    }

    #[test]
    fn an_invalid_location_is_refused_with_the_valid_forms() {
        assert_eq!("postgres://h".parse::<StoreLocation>(), Err(LocationError::Unknown));
        for text in ["embedded:", "embedded:redis://u:secret@h"] {
            assert_eq!(text.parse::<StoreLocation>(), Err(LocationError::NoDirectory));
        }
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
        for (url, says) in [
            ("redis://:secret@h:port", "it cannot be parsed"),
            ("redis://:sec/ret@h", "after the host"),
            ("redis://u:12/secret@h", "/ as %2F"),
            ("redis://u:pw@secret?@h", "? as %3F"),
            ("redis://h?protocol=secret@h", "after the host"),
            ("redis://:secret@h/name", "number of a database"),
            ("redis://:secret@0.0.0.0", "is not supported"),
            ("redis://h/?protocol=secret", "is not supported"),
            ("redis+unix:///run/redis.sock?db=secret", "db=NUMBER"),
        ] {
            let error = url.parse::<StoreLocation>().unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("secret") && !error.contains("InvalidClientConfig"), "{error}");
        }
    }
}
