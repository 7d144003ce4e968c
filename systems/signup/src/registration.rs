//! What somebody who signs up has to give, checked.

use lettre::Address;

const LONGEST_NAME: usize = 100;
/// RFC 5321's longest path, without its brackets.
const LONGEST_EMAIL_BYTES: usize = 254;

/// A name and an address that make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    name: String,
    email: String,
}

/// What is wrong with the input, and with which field of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Registration {
    /// Checks name and address. Space around them does not count.
    ///
    /// # Errors
    /// The name is empty, longer than 100 letters or has control characters; or the address is none, or longer than 254
    /// bytes.
    pub fn new(name: &str, email: &str) -> Result<Self, Invalid> {
        let name = checked_name(name.trim()).map_err(|problem| Invalid { field: "name", problem })?;
        let email = checked_email(email.trim()).map_err(|problem| Invalid { field: "email", problem })?;
        Ok(Self { name, email })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    pub fn email(&self) -> &str {
        &self.email
    }
}

fn checked_name(name: &str) -> Result<String, &'static str> {
    match name {
        "" => Err("must not be empty"),
        _ if name.chars().count() > LONGEST_NAME => Err("must not be longer than 100 letters"),
        _ if name.chars().any(char::is_control) => Err("must not have control characters"),
        _ => Ok(name.to_owned()),
    }
}

fn checked_email(email: &str) -> Result<String, &'static str> {
    match email {
        "" => Err("must not be empty"),
        _ if email.len() > LONGEST_EMAIL_BYTES => Err("must not be longer than 254 bytes"),
        _ if email.parse::<Address>().is_err() => Err("must be a mail address"),
        _ => Ok(email.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_input_is_trimmed() {
        let registration = Registration::new(" Ada 李 ", " ada@example.org ").unwrap();
        assert_eq!((registration.name(), registration.email()), ("Ada 李", "ada@example.org"));
    }

    #[test]
    fn bad_input_names_the_field() {
        let long_name = "n".repeat(101);
        let long_email = format!("{}@example.org", "e".repeat(250));
        let cases = [
            ("", "a@b.c", "name"),
            ("  ", "a@b.c", "name"),
            (long_name.as_str(), "a@b.c", "name"),
            ("a\r\nBcc: x@y.z", "a@b.c", "name"),
            ("n", "", "email"),
            ("n", "no address", "email"),
            ("n", "a@b.c\r\nBcc: x@y.z", "email"),
            ("n", long_email.as_str(), "email"),
        ];
        for (name, email, field) in cases {
            assert_eq!(Registration::new(name, email).unwrap_err().field, field, "{name:?} {email:?}");
        }
    }
}
