//! Numbers that a store computes: from fields it holds, from its own clock, from constants.

use super::key::RecordRef;

/// Σ coefficient · field + coefficient · now + constant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// The fields and their coefficients.
    pub terms: Vec<(i64, RecordRef, &'static str)>,
    /// The coefficient of the store's time in Unix milliseconds.
    pub now: i64,
    /// The constant.
    pub constant: i64,
}

impl Linear {
    /// A constant.
    pub fn constant(constant: i64) -> Self {
        Self { constant, ..Self::default() }
    }

    /// The store's time plus some milliseconds.
    pub fn now_plus(milliseconds: i64) -> Self {
        Self { now: 1, constant: milliseconds, ..Self::default() }
    }

    /// The same, plus coefficient · field.
    #[must_use]
    pub fn plus(mut self, coefficient: i64, record: RecordRef, field: &'static str) -> Self {
        self.terms.push((coefficient, record, field));
        self
    }

    /// The same, plus a constant.
    #[must_use]
    pub fn plus_constant(mut self, constant: i64) -> Self {
        self.constant += constant;
        self
    }

    /// The same, plus coefficient · the store's time.
    #[must_use]
    pub fn plus_now(mut self, coefficient: i64) -> Self {
        self.now += coefficient;
        self
    }

    /// The same with the opposite sign.
    #[must_use]
    pub fn negated(mut self) -> Self {
        self.terms.iter_mut().for_each(|(coefficient, _, _)| *coefficient = -*coefficient);
        self.now = -self.now;
        self.constant = -self.constant;
        self
    }
}

/// What a write writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// The greatest of some expressions, of which there is at least one; kept in decimal.
    Greatest(Vec<Linear>),
}

impl Value {
    /// The store's time, in Unix milliseconds.
    pub fn now() -> Self {
        Self::now_plus(0)
    }

    /// The store's time plus some milliseconds.
    pub fn now_plus(milliseconds: i64) -> Self {
        Linear::now_plus(milliseconds).into()
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Greatest(vec![Linear::constant(number)])
    }
}

impl From<Linear> for Value {
    fn from(linear: Linear) -> Self {
        Self::Greatest(vec![linear])
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
