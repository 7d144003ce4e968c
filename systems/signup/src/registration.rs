//! What somebody who signs up has to give, checked.

use lettre::Address;
use leveret_web::{Problem, input};

const LONGEST_NAME: usize = 100;
/// RFC 5321's longest path, without its brackets.
const LONGEST_EMAIL_BYTES: usize = 254;

/// A name and an address that make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    name: String,
    email: String,
}

impl Registration {
    /// Checks name and address. Space around them does not count.
    ///
    /// # Errors
    /// The name is empty, longer than 100 letters or has control characters; or the address is none, or longer than 254
    /// bytes (422, naming the field).
    pub fn new(name: &str, email: &str) -> Result<Self, Problem> {
        let name = input::name("name", name, LONGEST_NAME)?;
        let email = checked_email(email.trim()).map_err(|problem| Problem::field("email", problem))?;
        Ok(Self { name: name.to_owned(), email: email.to_owned() })
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

fn checked_email(email: &str) -> Result<&str, &'static str> {
    match email {
        "" => Err("must not be empty"),
        _ if email.len() > LONGEST_EMAIL_BYTES => Err("must not be longer than 254 bytes"),
        _ if email.parse::<Address>().is_err() => Err("must be a mail address"),
        _ => Ok(email),
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
            let problem = Registration::new(name, email).unwrap_err().to_string();
            assert!(problem.contains(&format!("({field}: ")), "{name:?} {email:?}: {problem}");
        }
    }
}
