//! Expressions that a store evaluates: linear in its fields and in its time.

use super::key::RecordRef;

/// The linear expression Σ coefficient · field + coefficient · now + constant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// The fields and their coefficients.
    pub terms: Vec<(i64, RecordRef, &'static str)>,
    /// The coefficient of the store's time, which is in Unix milliseconds.
    pub now: i64,
    /// The constant.
    pub constant: i64,
}

impl Linear {
    /// Returns a constant expression.
    pub fn constant(constant: i64) -> Self {
        Self { constant, ..Self::default() }
    }

    /// Returns the store's time plus some milliseconds.
    pub fn now_plus(milliseconds: i64) -> Self {
        Self { now: 1, constant: milliseconds, ..Self::default() }
    }

    /// Adds coefficient · field.
    #[must_use]
    pub fn plus(mut self, coefficient: i64, record: RecordRef, field: &'static str) -> Self {
        self.terms.push((coefficient, record, field));
        self
    }

    /// Adds a constant.
    #[must_use]
    pub fn plus_constant(mut self, constant: i64) -> Self {
        self.constant += constant;
        self
    }

    /// Adds coefficient · the store's time.
    #[must_use]
    pub fn plus_now(mut self, coefficient: i64) -> Self {
        self.now += coefficient;
        self
    }

    /// Negates the expression.
    #[must_use]
    pub fn negated(mut self) -> Self {
        self.terms.iter_mut().for_each(|(coefficient, _, _)| *coefficient = -*coefficient);
        self.now = -self.now;
        self.constant = -self.constant;
        self
    }
}

/// A value that a write stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// The greatest of one or more expressions. It is stored in decimal.
    Greatest(Vec<Linear>),
}

impl Value {
    /// Returns the store's time, in Unix milliseconds.
    pub fn now() -> Self {
        Self::now_plus(0)
    }

    /// Returns the store's time plus some milliseconds.
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
