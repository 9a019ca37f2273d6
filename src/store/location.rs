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
    #[error("this is not the URL of a Redis server: {reason}")]
    BadUrl {
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
}

/// What is wrong where a part of a password stands behind the host.
const SIGN_IN_PASSWORD: &str = "an `@` stands after the host: in a password, write / as %2F, ? as %3F and # as %23";

const REDIS_SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(directory) = text.strip_prefix("embedded:") {
            // A URL in its place may hold a password, which would be shown as a directory is.
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
            return Err(LocationError::BadUrl { reason: SIGN_IN_PASSWORD });
        }
        // The client's own words for what is wrong are not for operators, and some repeat a part of the URL.
        match redis::Client::open(text) {
            Ok(_) => Ok(Self::Redis(text.to_owned())),
            Err(_) => Err(LocationError::BadUrl { reason: fault_of(text) }),
        }
    }
}

fn fault_of(text: &str) -> &'static str {
    let Some(url) = redis::parse_redis_url(text) else {
        return "it cannot be read; it looks like `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, where a password's \
                `@`, `:`, `/`, `?`, `#` and `%` are written as %40, %3A, %2F, %3F, %23 and %25";
    };
    if url.scheme() == "redis+unix" {
        return "its path is that of a socket, and after it may come `?db=NUMBER`, `user=` and `pass=`, joined by `&`";
    }
    if matches!(url.host_str(), None | Some("")) {
        return "it names no host; it looks like `redis://HOST`";
    }
    if !is_database(url.path()) {
        return "its path has to be the number of a database, as in `redis://HOST/0`; a `/` of a password is written as %2F";
    }
    "its host, or something behind its `?` or `#`, is not one that Tollgate can use"
}

fn is_database(path: &str) -> bool {
    path.trim_start_matches('/').bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a password with a sign that ends the name of a host would be taken for that name, and shown. A socket's path may have
/// any sign.
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
                // The query is left out as well: for a unix socket, it is where the password stands.
                Some(url) => {
                    write!(formatter, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                    if let Some(port) = url.port() {
                        write!(formatter, ":{port}")?;
                    }
                    // A path that is neither a database nor a socket is what an unescaped password looks like.
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
            ("redis://:secret@h:port", "it cannot be read"),
            ("redis://:sec/ret@h", "after the host"),
            ("redis://u:12/secret@h", "/ as %2F"),
            ("redis://u:pw@secret?@h", "? as %3F"),
            ("redis://h?protocol=secret@h", "after the host"),
            ("redis://:secret@h/name", "number of a database"),
            ("redis://:secret@0.0.0.0", "is not one that"),
            ("redis://h/?protocol=secret", "is not one that"),
            ("redis+unix:///run/redis.sock?db=secret", "db=NUMBER"),
        ] {
            let error = url.parse::<StoreLocation>().unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("secret") && !error.contains("InvalidClientConfig"), "{error}");
        }
    }
}
